"""Stages of a mixture's model, each run as a command line and cached; imports no torch."""

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from imp_data.errors import UserError
from imp_data.manifests import load_recipe, model_digest
from imp_data.manifests.model import Model, Stage, StageName, load_model
from imp_data.pipeline.build import Build
from imp_data.storage.atomic_write import json_text
from imp_data.storage.code_version import code_version
from imp_data.storage.digests import library_versions, text_digest, tree_digest
from imp_data.storage.paths import check_local
from imp_data.storage.stage_cache import StageResult, outputs_digest
from imp_data.training.loop.run_folder import clear_stale_run

# Runs an `imp-data` command, given as a list of arguments; raises UserError if it fails.
Command = Callable[[Sequence[str]], object]

CODE = code_version("imp_data.training.cli:train")
MERGE_CODE = code_version("imp_data.training.cli:merge")
_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "tokenizers")


class Plan:
    """The training plan of a mixture's model: its stages in order, and their mixtures."""

    def __init__(self, build: Build, manifest: Path) -> None:
        self.build, self.manifest = build, manifest
        self.model: Model = load_model(manifest)
        self.folder = build.data.model(self.model.name)

    @classmethod
    def of(cls, build: Build) -> "Plan | None":
        """Return the plan of the model that the mixture's manifest names, if it names one."""
        name = build.recipe.mixture.model
        return cls(build, build.recipe.manifests_dir / "models" / f"{name}.yaml") if name else None

    @property
    def other_mixtures(self) -> list[Build]:
        """Builds of the stages' mixtures other than this one."""
        names = dict.fromkeys(stage.mixture for _, stage in self.model.planned)
        return [self._other(name) for name in names if name != self.build.name]

    @property
    def mixtures_with_questions(self) -> list[Build]:
        """Builds of the mixtures whose questions the model trains on; `plain` omits questions."""
        names = {
            stage.mixture
            for _, stage in self.model.planned
            if (stage.template or self.model.template) != "plain"
        }
        return [build for build in self._builds if build.name in names]

    @property
    def merged(self) -> Path:
        """The folder of the finished model."""
        return self.folder / "merged"

    def train(self, name: StageName, command: Command) -> StageResult:
        """Run one stage of training; resume it if it was interrupted."""
        run, outcome = self.folder / name, self.folder / name / "outcome"
        inputs = self._inputs(name)

        def build() -> dict[str, Any]:
            self.check_ready()
            if number := [planned for planned, _ in self.model.planned].index(name):
                self._check_outcome(self.model.planned[number - 1][0])
            clear_stale_run(self.folder, name, text_digest(json_text(inputs)))
            words = [w for b in self._builds for w in ("--mixture", str(b.data.mixture(b.name)))]
            place = ["--out", str(self.folder), "--stage", name]
            command(["train", str(self.manifest), *words, *place])
            summary: dict[str, Any] = orjson.loads((run / "summary.json").read_bytes())
            return summary

        return self.build.stage(
            self._asset(name), inputs, [outcome], build, lambda _: tree_digest(outcome)
        )

    def merge(self, command: Command) -> StageResult:
        """Merge the last stage's output into one folder that transformers loads."""
        last = self.model.planned[-1][0]
        inputs = {
            "code": MERGE_CODE,
            "stage": self.build.digest_of(self._asset(last)),
            **_versions(),
        }

        def build() -> dict[str, Any]:
            self.check_ready()
            self._check_outcome(last)
            command(["merge", str(self.folder / last / "outcome"), "--out", str(self.merged)])
            return {"bytes": sum(f.stat().st_size for f in self.merged.rglob("*") if f.is_file())}

        return self.build.stage(self._asset("merged"), inputs, [self.merged], build)

    def check_merged(self) -> None:
        """Raise UserError if the finished model is damaged."""
        digest = outputs_digest([self.merged])
        self.build.check_unaltered(self._asset("merged"), digest, self.merged)

    def _check_outcome(self, stage: StageName) -> None:
        outcome = self.folder / stage / "outcome"
        self.build.check_unaltered(self._asset(stage), tree_digest(outcome), outcome)

    def check_ready(self) -> None:
        """Raise UserError if this machine cannot train: libraries, or storage of the data."""
        for library in _LIBRARIES:
            if find_spec(library) is None:
                raise UserError(
                    f"the library {library}, which trains {self.model.title}",
                    "is not installed",
                    "pip install 'imp-data[train]'; the job curate builds the mixture alone",
                )
        check_local(
            self.build.data.root,
            "IMP_DATA_DIR",
            "training memory-maps a mixture's files",
            "copy the mixture and its images to a local folder and set that; the job curate "
            "builds the mixture alone",
        )

    @property
    def _builds(self) -> list[Build]:
        return [*self.other_mixtures, self.build]

    def _asset(self, name: str) -> str:
        return f"models/{self.model.name}/{name}"

    def _inputs(self, name: StageName) -> dict[str, str]:
        """Return a stage's inputs: recipe, mixtures, the previous stage, code and libraries."""
        stages = [stage for _, stage in self.model.planned]
        number = [planned for planned, _ in self.model.planned].index(name)
        parts = self.model.model_copy(update={"stages": type(self.model.stages)()})
        before = self.model.planned[number - 1][0] if number else None
        # All mixtures, since a tokenizer of the model's own is trained on all of them.
        return {
            "code": CODE,
            "recipe": model_digest(parts, *stages[: number + 1]),
            **{f"mixtures/{b.name}": b.digest_of("mixture") for b in self._builds},
            **({"before": self.build.digest_of(self._asset(before))} if before else {}),
            **_versions(),
        }

    def _other(self, name: str) -> Build:
        rooms = self.build.recipe.manifests_dir
        found = [p for p in rooms.glob("mixtures/*.yaml") if p.stem.replace("-", "_") == name]
        if not found:
            raise UserError(
                self.manifest,
                f"a stage names the mixture {name}, which has no manifest",
                f"write {rooms / 'mixtures' / name}.yaml, or name another mixture",
            )
        return Build(load_recipe(found[0]), self.build.data)


def command_line(words: Sequence[str]) -> list[str]:
    """Return the command line of an `imp-data` command for this interpreter."""
    return [sys.executable, "-m", "imp_data", *words]


def describe_stage(stage: Stage, plan: Plan) -> str:
    """Return a sentence that describes a stage."""
    adapts = f", LoRA of rank {stage.lora.r} beside the decoder" if stage.lora else ""
    parts = ", ".join(part.replace("_", " ") for part in stage.trains)
    return f"{plan.model.title}: trains {parts}{adapts}, on the mixture {stage.mixture}."


def _versions() -> dict[str, str]:
    """Return the libraries' versions; none without the extra `train`, which fails before a run."""
    known = [library for library in _LIBRARIES if find_spec(library)]
    return {"libraries": str(library_versions(*known))}
