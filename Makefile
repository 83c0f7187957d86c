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

# One process more than cores, as tests wait a quarter of their time: for servers, locks and
# kills. Each process imports PyTorch, so there are at most 8.
WORKERS = $(shell $(PYTHON) -c 'import os; print(min(8, (os.cpu_count() or 1) + 1))')
PYTEST = pytest --numprocesses $(WORKERS)

.PHONY: setup demo demo-data build test test-slow ui lint clean

setup: $(VENV)/.core

# Python compiles what it imports, and keeps it whatever the environment says; compiling all of torch
# and transformers takes longer than both take to install.
export PYTHONDONTWRITEBYTECODE :=
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

# Python 3.11 brings pip 23.2, which takes three times as long to find the versions.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	touch $@

$(VENV)/.model: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[train,mobile]"
	touch $(VENV)/.core $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[dev,ray,server,s3,train,mobile]"
	touch $(VENV)/.core $(VENV)/.model $@

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
	$(PYTEST) --dist worksteal

# The tests of a file share what takes long to build. Files begin in the order of their names: in
# the order of their number of tests, the longest tests would be last.
test-slow: $(VENV)/.dev
	$(PYTEST) -m slow --dist loadfile --no-loadscope-reorder

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
