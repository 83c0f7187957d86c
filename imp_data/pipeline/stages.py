"""Common to all stages of a build: code version, stamp, lock, and the results of other stages."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.manifests import Publication, Recipe
from imp_data.manifests.lockfile import LockFiles
from imp_data.parallel import use_engine
from imp_data.storage.checked_file import invalidate
from imp_data.storage.code_version import code_version
from imp_data.storage.data_dir import DataDir, data_dir
from imp_data.storage.object_store import is_file
from imp_data.storage.stage_cache import (
    StageOutputs,
    StageResult,
    StageRun,
    outputs_digest,
    read_stamp,
    run_stage,
)

CARD = "README.md"
MATERIALIZE_FIRST = "materialize it first, or run the whole job"
# Stages whose results all mixtures of a data directory share.
_SHARED = {"world", "models"}

# The module with which the work of a stage begins; its imports determine the code version.
_ENTRIES = {
    "inputs": "imp_data.pipeline.required_inputs",
    "raw": "imp_data.raw.stage",
    "records": "imp_data.records.build",
    "benchmarks": "imp_data.screening.decontamination.benchmark_index",
    "images": "imp_data.pipeline.images_stage",
    "screened": "imp_data.pipeline.screened_stage",
    "mixture": "imp_data.mixture.build",
    "duplicates": "imp_data.pipeline.duplicates_stage",
    "card": "imp_data.pipeline.card_stage",
    "world": "demo.stage",
}

# What the stage of a benchmark with questions runs besides.
QUESTION_CODE = "imp_data.screening.decontamination.questions.question_stage"


def stage_code_version(kind: str) -> str:
    """Return the code version of the stages of one kind, for instance "raw"."""
    return code_version(_ENTRIES[kind])


def matches_stamp(stamp: Path, output: Path) -> bool:
    """Return whether a file exists and has the digest that its stage's last finished run left."""
    known = read_stamp(stamp)
    return known is not None and is_file(output) and known["digest"] == outputs_digest([output])


class StageContext:
    """A mixture's recipe, its data directory, and the results of the stages that ran there."""

    def __init__(self, recipe: Recipe, data: DataDir | None = None) -> None:
        self.recipe = recipe
        self.data = (data or data_dir(recipe.mixture.drawn)).of(recipe.mixture.name)

    @property
    def name(self) -> str:
        """Return the name of the mixture."""
        return self.recipe.mixture.name

    @property
    def deferred(self) -> bool:
        """Return whether the mixture defers its images."""
        return self.recipe.mixture.images == "deferred"

    @property
    def locks(self) -> LockFiles | None:
        """Return the lock files of downloads; None for a drawn mixture, which downloads none."""
        return (
            None
            if self.recipe.mixture.drawn
            else LockFiles(self.recipe.manifests_dir, self.data.locks)
        )

    @property
    def reports_duplicates(self) -> bool:
        """Return whether the mixture's policy asks for the duplicates report."""
        return self.recipe.mixture.near_duplicates.policy != "ignore"

    @cached_property
    def published(self) -> dict[str, list[Publication]]:
        """Return the manifests by raw folder; several may publish files in one folder.

        Image collections are left out if images are deferred.
        """
        recipe, by_name = self.recipe, dict[str, list[Publication]]()
        kinds: list[Mapping[str, Publication]] = [recipe.sources, recipe.benchmarks]
        if not self.deferred:
            kinds.append(recipe.images)
        for manifests in kinds:
            for name, manifest in manifests.items():
                by_name.setdefault(name, []).append(manifest)
        return dict(sorted(by_name.items()))

    def stage(
        self,
        asset: str,
        inputs: Mapping[str, str],
        outputs: Sequence[Path],
        build: Callable[[], dict[str, Any]],
        digest_of: Callable[[dict[str, Any]], str] | None = None,
    ) -> StageResult:
        """Run the stage of an asset, with the engine that the mixture names; see `run_stage`."""
        with use_engine(self.recipe.mixture.engine):
            run = self.run_of(asset)
            return run_stage(self.stamp(asset), inputs, outputs, build, digest_of, run)

    def run_of(self, asset: str) -> StageRun:
        """Return the lock of an asset, and the results of other mixtures that it may reuse.

        All mixtures share the raw folders, so these have one lock for all mixtures.
        """
        kind = asset.split("/")[0]
        stamp = self.data.stamp(asset) if kind == "raw" else self.stamp(asset)
        lock = stamp.with_name(f"{stamp.name}.lock")
        run = StageRun(lock, asset, f"mixture {self.name}")
        return run if kind in _SHARED else run._replace(others=partial(self._others, asset))

    def _others(self, asset: str, outputs: Sequence[Path]) -> list[StageOutputs]:
        data, names = self.data, sorted({*self.data.mixture_names} - {self.name})
        return [
            StageOutputs(
                data.stamp(f"mixtures/{name}/{asset}"),
                [data.counterpart(output, name) for output in outputs],
            )
            for name in names
        ]

    def stamp(self, asset: str) -> Path:
        """Return the path of the file that records the inputs of an asset."""
        shared = asset.split("/")[0] in _SHARED
        return self.data.stamp(asset if shared else f"mixtures/{self.name}/{asset}")

    def is_unchanged(self, asset: str, output: Path) -> bool:
        """Return whether the one output of a stage is as the stage's last finished run left it."""
        return matches_stamp(self.stamp(asset), output)

    def check_unaltered(self, asset: str, digest: str, output: Path) -> None:
        """Raise UserError if the digest of a folder is not the one that its stage left.

        Mark a file of the folder as changed, so that its stage runs again.
        """
        if digest == self.digest_of(asset):
            return
        invalidate(min((path for path in output.rglob("*") if path.is_file()), default=output))
        raise UserError(
            output,
            f"is damaged: a file in it is not as {asset} wrote it",
            "restore a copy with its modification time; or run the same command again, which "
            "rebuilds it",
        )

    def figures(self, asset: str) -> dict[str, Any]:
        """Return the figures of a stage's last finished run."""
        figures: dict[str, Any] = self._stamp_of(asset)["figures"]
        return figures

    def digest_of(self, asset: str) -> str:
        """Return the digest of the outputs of a stage's last finished run."""
        digest: str = self._stamp_of(asset)["digest"]
        return digest

    def _stamp_of(self, asset: str) -> dict[str, Any]:
        stamp = read_stamp(self.stamp(asset))
        if stamp is None:
            raise UserError(asset, "has not been built", MATERIALIZE_FIRST)
        return stamp
