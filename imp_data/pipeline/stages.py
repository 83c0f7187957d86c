"""What every stage of a build has: its place, its stamp, and the digests of what it goes by."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.manifests import Published, Recipe
from imp_data.manifests.lockfile import Locks
from imp_data.parallel import running_on
from imp_data.storage.checked_file import outdate
from imp_data.storage.code_version import code_version
from imp_data.storage.data_dir import DataDir, data_dir
from imp_data.storage.object_store import is_file
from imp_data.storage.stage_cache import (
    Other,
    Run,
    StageResult,
    digest_of_files,
    read_stamp,
    run_stage,
)

CARD = "README.md"
FIRST = "materialize it first, or run the whole job"
# What mixtures in one data directory have in common; of all else each has its own.
_COMMON = {"world", "models"}

# Where the work of a box begins; its code version is that of all that is imported from there.
_ENTRIES = {
    "inputs": "imp_data.pipeline.required_inputs",
    "raw": "imp_data.raw.stage",
    "records": "imp_data.records.build",
    "benchmarks": "imp_data.screening.decontamination.benchmark_index",
    "images": "imp_data.pipeline.images_stage",
    "screened": "imp_data.pipeline.screened_stage",
    "mixture": "imp_data.mixture.build",
    "neighbours": "imp_data.pipeline.duplicates_stage",
    "card": "imp_data.pipeline.card_stage",
    "world": "demo.stage",
}


def code_of(box: str) -> str:
    """The code version of a box's stages."""
    return code_version(_ENTRIES[box])


def is_of_stamp(stamp: Path, output: Path) -> bool:
    """Whether a file is there, and is what the last finished run of its stage left, by digest."""
    known = read_stamp(stamp)
    return known is not None and is_file(output) and known["digest"] == digest_of_files([output])


class Stamps:
    """A mixture's recipe, the data directory that it is built in, and what was built there."""

    def __init__(self, recipe: Recipe, data: DataDir | None = None) -> None:
        self.recipe = recipe
        self.data = (data or data_dir(recipe.mixture.drawn)).of(recipe.mixture.name)

    @property
    def name(self) -> str:
        """The mixture's."""
        return self.recipe.mixture.name

    @property
    def deferred(self) -> bool:
        """Whether images are left for later."""
        return self.recipe.mixture.images == "deferred"

    @property
    def locks(self) -> Locks | None:
        """What was learned of fetched files; None for a drawn mixture, which fetches none."""
        return None if self.recipe.mixture.drawn else Locks(self.recipe.rooms, self.data.locks)

    @property
    def reports_neighbours(self) -> bool:
        """Whether it is looked for what the mixture says twice."""
        return self.recipe.mixture.near_duplicates.policy != "ignore"

    @cached_property
    def published(self) -> dict[str, list[Published]]:
        """Manifests by the name of the raw folder their files share.

        Where images are deferred, collections are left out.
        """
        recipe, by_name = self.recipe, dict[str, list[Published]]()
        rooms: list[Mapping[str, Published]] = [recipe.sources, recipe.benchmarks]
        if not self.deferred:
            rooms.append(recipe.images)
        for room in rooms:
            for name, manifest in room.items():
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
        """`run_stage` of that asset, on the engine that the mixture names."""
        with running_on(self.recipe.mixture.engine):
            run = self.run_of(asset)
            return run_stage(self.stamp(asset), inputs, outputs, build, digest_of, run)

    def run_of(self, asset: str) -> Run:
        """The lock of an asset, and other mixtures' results that would serve as well.

        The files of raw folders are common to all mixtures: one lock for all of them.
        """
        box = asset.split("/")[0]
        stamp = self.data.stamp(asset) if box == "raw" else self.stamp(asset)
        lock = stamp.with_name(f"{stamp.name}.lock")
        run = Run(lock, asset, f"mixture {self.name}")
        return run if box in _COMMON else run._replace(others=partial(self._others, asset))

    def _others(self, asset: str, outputs: Sequence[Path]) -> list[Other]:
        data, names = self.data, sorted({*self.data.mixture_names} - {self.name})
        return [
            Other(
                data.stamp(f"mixtures/{name}/{asset}"),
                [data.counterpart(output, name) for output in outputs],
            )
            for name in names
        ]

    def stamp(self, asset: str) -> Path:
        """Where it stands what the asset was built from."""
        common = asset.split("/")[0] in _COMMON
        return self.data.stamp(asset if common else f"mixtures/{self.name}/{asset}")

    def left(self, asset: str, output: Path) -> bool:
        """Whether a file is as the last finished run of a stage of one output left it."""
        return is_of_stamp(self.stamp(asset), output)

    def check_left(self, asset: str, digest: str, output: Path) -> None:
        """Raise UserError if the digest of a folder is not the one that its stage left it with.

        A file of it gets another time of change, so that its stage does its work again.
        """
        if digest == self.digest_of(asset):
            return
        outdate(min((path for path in output.rglob("*") if path.is_file()), default=output))
        raise UserError(
            output,
            f"is damaged: a file of it is not as {asset} wrote it",
            "put back a copy that keeps its time of change; or run the same command again, which "
            "makes it anew",
        )

    def figures(self, asset: str) -> dict[str, Any]:
        """The figures of a stage's last finished run."""
        figures: dict[str, Any] = self._stamp_of(asset)["figures"]
        return figures

    def digest_of(self, asset: str) -> str:
        """The digest of what a stage's last finished run left."""
        digest: str = self._stamp_of(asset)["digest"]
        return digest

    def _stamp_of(self, asset: str) -> dict[str, Any]:
        stamp = read_stamp(self.stamp(asset))
        if stamp is None:
            raise UserError(asset, "has not been built", FIRST)
        return stamp
