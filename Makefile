# make demo       the whole build at one-thousandth scale, on images drawn on the spot, a tiny
#                 model trained on it, and its files for llama.cpp, held against PyTorch
# make demo-data  the same without the model, and without torch
# make test       the tests, but for those that take a minute each
# make test-slow  those: a model is trained, the demo built on servers and in a browser
# make ui         the Dagster UI on loopback
# make build      the mixture that IMP_MIXTURE names
# make lint       formatting, types, floors, schemas
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
IMP_MIXTURE ?= manifests/mixtures/demo.yaml
export IMP_MIXTURE
export DAGSTER_HOME := $(CURDIR)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)

# A process for each core; each of them imports PyTorch, so there are at most 8.
PYTEST := pytest --numprocesses logical --maxprocesses 8 --dist worksteal

.PHONY: setup demo demo-data build test test-slow ui lint clean

setup: $(VENV)/.core

# Python compiles what it imports; compiling all of torch and transformers takes longer than both take
# to install.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	touch $@

$(VENV)/.model: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[train,mobile]"
	touch $(VENV)/.core $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[dev,ray,server,s3,train,mobile]"
	touch $(VENV)/.core $@

demo demo-data: export IMP_MIXTURE = manifests/mixtures/demo.yaml
demo: $(VENV)/.model
	@dg launch --job rebuild
	@imp-data verify $${IMP_DATA_DIR:-data/demo}/mixtures/demo
	@cat $${IMP_DATA_DIR:-data/demo}/models/imp_tiny/evidence/scores.txt
	@cat $${IMP_DATA_DIR:-data/demo}/models/imp_tiny/gguf/parity.txt

demo-data: setup
	@dg launch --job curate
	@imp-data verify $${IMP_DATA_DIR:-data/demo}/mixtures/demo

build: setup
	@dg launch --job rebuild

test: $(VENV)/.dev
	$(PYTEST)

test-slow: $(VENV)/.dev
	$(PYTEST) -m slow

ui: setup
	dg dev

lint: $(VENV)/.dev
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	imp-data schemas --check
	dg check defs

clean:
	rm -rf $(VENV) .dagster data/demo
