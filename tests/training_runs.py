"""Helpers of training tests: a world, a finished run, and the command of a run."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import torch
from conftest import World
from training_world import STAGES, build_shapes, manifest, model

from imp_data.training.data.mixture_input import open_mixture
from imp_data.training.loop.reporting import read_metrics
from imp_data.training.loop.run import Run, train

torch.set_num_threads(1)


SMALL = {"IMP_WORKERS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
ADAPTER = {"adapter": STAGES["adapter"]}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory, one_worker: None) -> World:
    """Build a world whose mixture `small` has 22 rows: 18 shapes and 4 conversations."""
    world = World(tmp_path_factory.mktemp("shapes"))
    build_shapes(world, 18, 4)
    manifest(world)
    return world


def run_of(world: World, out: Path, stages: Any = STAGES, **options: Any) -> Run:
    mixtures = [open_mixture(world.data.mixture("small"))]
    return Run(model(world, stages), world.manifests, mixtures, out, workers=0, **options)


def command(world: World, out: Path, stages: Any = STAGES, *more: str) -> list[str]:
    mixture = str(world.data.mixture("small"))
    words = ["train", str(manifest(world, stages)), "--mixture", mixture, "--out", str(out), *more]
    return [sys.executable, "-m", "imp_data", *words]


def launch(command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, **SMALL, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(shapes: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run both stages."""
    out = tmp_path_factory.mktemp("finished")
    train(run_of(shapes, out))
    return out


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder)]


def tokens(folder: Path) -> list[int]:
    return [line["tokens"] for line in read_metrics(folder)]
