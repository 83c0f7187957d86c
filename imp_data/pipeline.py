"""The stages in their order, each with what it depends on: what an asset calls."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from imp_data.benchmarks import build_benchmark, read_pack
from imp_data.candidates import Candidates, candidates
from imp_data.datadir import DataDir, data_dir
from imp_data.engine import running_on
from imp_data.errors import UserError
from imp_data.facts import LIBRARIES, mixture_facts
from imp_data.fingerprints import Album, fingerprint_writer
from imp_data.images.archive import Shelf
from imp_data.images.fingerprint import decoder
from imp_data.journal import journal
from imp_data.looks import Judge, read_looks
from imp_data.manifest import Decontamination, Published, Recipe, load_recipe, model_digest
from imp_data.mixture import build_mixture
from imp_data.progress import progress
from imp_data.records import build_records
from imp_data.screening import draw, image_paths, write_screened
from imp_data.settlement import Share
from imp_data.shuffle import shard_names
from imp_data.store import (
    StageResult,
    code_digest,
    library_versions,
    listing_digest,
    read_stamp,
    run_stage,
    text_digest,
)
from imp_data.twins import Twins
from imp_data.unlike import Unlike
from imp_data.upstream import raw_stage
from imp_data.verdicts import Benchmarked, benchmarked

_FIRST = "materialize it first, or run the whole job"
# What depends on a mixture's quotas and rules: mixtures in one data directory have each their own.
_OWN = {"images", "screened", "mixture", "neighbours", "card"}

_EDGE = ("errors", "manifest", "ledger", "sample", "store")
_DRAW = ("candidates", "screening", "looks", "twins", "verdicts", "images")
# The modules whose text decides the bytes of a stage; their digest is its code version.
CODE: dict[str, str] = {
    "raw": code_digest("upstream", "fetch", "download", "unpack"),
    "records": code_digest(*_EDGE, "records", "batches", "sieve", "rules", "layouts"),
    "benchmarks": code_digest(*_EDGE, "benchmarks", "fingerprints", "images", "layouts", "recall"),
    "images": code_digest(*_EDGE, *_DRAW, "fingerprints"),
    "screened": code_digest(*_EDGE, *_DRAW, "unlike"),
    "mixture": code_digest(*_EDGE, "mixture", "shuffle", "arrow_dataset", "settlement"),
}


class Build:
    """One mixture being built in one data directory; each method runs one stage.

    A stage whose inputs, code and outputs are unchanged does nothing and says so in its result.
    """

    def __init__(self, recipe: Recipe, data: DataDir | None = None) -> None:
        self.recipe = recipe
        self.data = data or data_dir(recipe.mixture)
        self._packs: tuple[list[str], list[Benchmarked]] | None = None
        self._offered: tuple[dict[str, str], Candidates] | None = None

    @classmethod
    def of(cls, mixture_path: Path) -> "Build":
        """The build that a mixture's manifest describes."""
        return cls(load_recipe(mixture_path))

    @property
    def name(self) -> str:
        """The mixture's."""
        return self.recipe.mixture.name

    @cached_property
    def published(self) -> dict[str, list[Published]]:
        """Manifests by the name of the raw folder their files share.

        Where pictures are deferred, collections are left out.
        """
        recipe, by_name = self.recipe, dict[str, list[Published]]()
        rooms: list[Mapping[str, Published]] = [recipe.sources, recipe.benchmarks]
        if not self.deferred:
            rooms.append(recipe.pictures)
        for room in rooms:
            for name, manifest in room.items():
                by_name.setdefault(name, []).append(manifest)
        return dict(sorted(by_name.items()))

    @property
    def deferred(self) -> bool:
        """Whether pictures are left for later."""
        return self.recipe.mixture.pictures == "deferred"

    @property
    def reports_neighbours(self) -> bool:
        """Whether it is looked for what the mixture says twice."""
        return self.recipe.mixture.near_duplicates.policy != "ignore"

    def raw(self, name: str) -> StageResult:
        """Fetch, verify and unpack what is published under a name.

        The files of a drawn world are pinned to what was drawn.
        """
        manifests, folder = self.published[name], self.data.raw(name)
        stamp = self.stamp(f"raw/{name}")
        return raw_stage(manifests, folder, stamp, self._pins(name), CODE["raw"])

    def records(self, source: str) -> StageResult:
        """Upstream records to validated Samples, with a ledger row each."""
        manifest, limits = self.recipe.sources[source], self.recipe.mixture.limits
        outputs = [self.data.records(source), self.data.ledger(source)]

        def build() -> dict[str, Any]:
            return build_records(manifest, self.data.raw(source), limits, *outputs)

        inputs = {
            "code": CODE["records"],
            "libraries": str(library_versions(*LIBRARIES)),
            "manifest": model_digest(manifest, limits),
            "raw": self.digest_of(f"raw/{source}"),
        }
        return self.stage(f"records/{source}", inputs, outputs, build)

    def benchmark(self, name: str) -> StageResult:
        """The ids and fingerprints of a benchmark's pictures."""
        manifest, limits = self.recipe.benchmarks[name], self.recipe.mixture.limits
        out = self.data.benchmark(name)
        shelf = None if self.deferred else self.shelf(manifest.pictures)
        altered = self.recipe.decontamination(name).altered_pictures

        def build() -> dict[str, Any]:
            return build_benchmark(manifest, self.data.raw(name), shelf, limits, out, altered)

        inputs = {
            "code": CODE["benchmarks"],
            "decoder": decoder(),
            "altered": str(altered),
            "manifest": model_digest(manifest, limits),
            "raw": self.digest_of(f"raw/{name}"),
            "pictures": self._pictures_digest(manifest.pictures),
        }
        return self.stage(f"benchmarks/{name}", inputs, [out], build)

    def images(self, source: str) -> StageResult:
        """Fingerprints of the pictures that the draw reaches."""
        out = self.data.fingerprints(self.name, source)
        collections = self.recipe.sources[source].pictures
        pictures = self.pictures_digest(source)

        def build() -> dict[str, Any]:
            with (
                journal(self.data.journal(source), pictures) as kept,
                fingerprint_writer(out) as writer,
                progress(f"images/{source}", "pictures") as told,
            ):
                if self.deferred:
                    return {"pictures": 0, "statuses": {}, "deferred": True}
                limits, records = self.recipe.mixture.limits, self.data.records(source)
                earlier = self._earlier_fingerprints(source, pictures)
                album = Album(self.shelf(collections), limits, writer, told, kept, earlier)
                judge = Judge(album, limits, self._benchmarked(), self._twins())
                order = self._candidates(source).order
                draw(order, self._quota(source), lambda r: judge.passes(image_paths(records, r)))
                statuses = dict(sorted(album.statuses.items()))
                return {"pictures": sum(statuses.values()), "statuses": statuses}

        inputs = {**self._draw_inputs(source), "code": CODE["images"], "pictures": pictures}
        return self.stage(f"images/{source}", inputs, [out], build)

    def screened(self, source: str) -> StageResult:
        """Which Samples pass, which go and why, which are held back."""
        out, limits = self.data.screened(self.name, source), self.recipe.mixture.limits
        fingerprints = self.data.fingerprints(self.name, source)

        def build() -> dict[str, Any]:
            offered = self._candidates(source)
            looks = unlike = None
            if not self.deferred:
                looks = read_looks(fingerprints, limits, self._benchmarked())
            if looks and self._twin_bits is not None:
                unlike = Unlike(looks, fingerprints, self._twin_bits)
            seen = unlike or looks
            passes = seen.passes if seen else lambda names: np.ones(len(names), np.bool_)
            try:
                quota = self._quota(source)
                drawn = draw(offered.order, quota, lambda rows: passes(offered.pictures[rows]))
            except KeyError as unseen:
                problem = f"is from before a change: it lacks {unseen.args[0]}"
                raise UserError(f"images/{source}", problem, _FIRST) from None
            looks = unlike.looks() if unlike else looks
            return write_screened(out, self.data.records(source), offered, drawn, looks)

        inputs = {
            **self._draw_inputs(source),
            "code": CODE["screened"],
            "images": self.digest_of(f"images/{source}"),
        }
        return self.stage(f"screened/{source}", inputs, [out], build)

    def mixture(self) -> StageResult:
        """The folder that datasets.load_from_disk opens, with its ledger and mixture.json."""
        mixture = self.recipe.mixture
        folder = self.data.mixture(mixture.name)
        passed = sum(self.figures(f"screened/{part.source}")["passed"] for part in mixture.parts)
        beside = ("mixture.json", "ledger.parquet", "state.json", "dataset_info.json")
        outputs = [folder / name for name in (*beside, *shard_names(passed, mixture.shard_rows))]
        facts = mixture_facts(self.recipe, self.published, self.figures)

        def build() -> dict[str, Any]:
            self._packs = self._offered = None  # which this stage has no use for
            shares = [self._share(part.source) for part in mixture.parts]
            manifest = build_mixture(folder, shares, mixture.seed, mixture.shard_rows, facts)
            return {
                "rows": manifest["rows"],
                "digest": manifest["digest"],
                "parts": manifest["parts"],
            }

        inputs = {
            "code": CODE["mixture"],
            "facts": text_digest(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)),
            **{f"records/{p.source}": self.digest_of(f"records/{p.source}") for p in mixture.parts},
            **{
                f"screened/{p.source}": self.digest_of(f"screened/{p.source}")
                for p in mixture.parts
            },
        }
        return self.stage("mixture", inputs, outputs, build, lambda figures: figures["digest"])

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
            return run_stage(self.stamp(asset), inputs, outputs, build, digest_of)

    def stamp(self, asset: str) -> Path:
        """Where it stands what the asset was built from."""
        own = asset.split("/")[0] in _OWN
        return self.data.stamp(f"mixtures/{self.name}/{asset}" if own else asset)

    def pictures_digest(self, source: str) -> str:
        """Digest of a source's pictures and of what looks at them: equal, equal fingerprints."""
        return text_digest(
            self._pictures_digest(self.recipe.sources[source].pictures),
            model_digest(self.recipe.mixture.limits),
            CODE["images"],
            decoder(),
        )

    def shelf(self, collections: tuple[str, ...]) -> Shelf:
        """Where the pictures of these collections are."""
        folders = self.recipe.folders(collections)
        return Shelf(self.data.images, self.data.raw(""), folders)

    def figures(self, asset: str) -> dict[str, Any]:
        """The figures of a stage's last finished run."""
        figures: dict[str, Any] = self._stamp_of(asset)["figures"]
        return figures

    def _earlier_fingerprints(self, source: str, pictures: str) -> list[Path]:
        """Those of the last build, and of other mixtures', of the same pictures.

        Also all that looks at pictures must be the same.
        """
        others = sorted({*self.data.mixture_names} - {self.name})
        return [
            self.data.fingerprints(mixture, source)
            for mixture in (self.name, *others)
            if (known := read_stamp(self.data.stamp(f"mixtures/{mixture}/images/{source}")))
            and known["inputs"].get("pictures") == pictures
        ]

    def _pins(self, name: str) -> dict[str, str]:
        """sha256 by path of a raw folder's files as the world's stage drew them."""
        if not self.recipe.mixture.drawn:
            return {}
        files: dict[str, str] = self.figures("world")["files"]
        prefix = f"{name}/"
        return {p.removeprefix(prefix): s for p, s in files.items() if p.startswith(prefix)}

    def _share(self, source: str) -> Share:
        return Share(
            source=source,
            license=self.recipe.sources[source].license,
            records=self.data.records(source),
            ledger=self.data.ledger(source),
            screened=self.data.screened(self.name, source),
        )

    def _quota(self, source: str) -> int:
        return self.recipe.part(source).quota

    def _candidates(self, source: str) -> Candidates:
        """Those of the last source asked for are kept: two stages after one another need them."""
        inputs = {"source": source, **self._draw_inputs(source)}
        if self._offered is None or self._offered[0] != inputs:
            self._offered = None  # before the next, so that there is never more than one
            records = self.data.records(source)
            found = candidates(self.recipe.mixture, source, records, self._benchmarked())
            self._offered = (inputs, found)
        return self._offered[1]

    def _benchmarked(self) -> list[Benchmarked]:
        """The benchmarks' packs, made ready once and again when one of them has changed."""
        names = [d.benchmark for d in self.recipe.mixture.decontaminate]
        digests = [self.digest_of(f"benchmarks/{name}") for name in names]
        if self._packs is None or self._packs[0] != digests:
            ready = [self._pack(d) for d in self.recipe.mixture.decontaminate]
            self._packs = (digests, ready)
        return self._packs[1]

    @property
    def _twin_bits(self) -> int | None:
        """How alike two pictures of a source must be for one to go; None where none goes."""
        policy = self.recipe.mixture.near_duplicates
        return policy.max_distance_bits if policy.policy == "drop" else None

    def _twins(self) -> Twins | None:
        return None if self._twin_bits is None else Twins(self._twin_bits)

    def _pack(self, kept_out: Decontamination) -> Benchmarked:
        name = kept_out.benchmark
        pack = read_pack(self.recipe.benchmarks[name], self.data.benchmark(name))
        return benchmarked(pack, kept_out.max_distance_bits)

    def _draw_inputs(self, source: str) -> dict[str, str]:
        mixture = self.recipe.mixture
        exclusions = [e for e in mixture.exclusions if e.source == source]
        rules = (mixture.limits, *exclusions, *mixture.decontaminate)
        return {
            "draw": f"seed {mixture.seed}, quota {self._quota(source)}, {mixture.exact_repeats}",
            "pictures_are": mixture.pictures,
            "rules": model_digest(*rules),
            **({} if self._twin_bits is None else {"twins": f"within {self._twin_bits} bits"}),
            "records": self.digest_of(f"records/{source}"),
            **{
                f"benchmarks/{d.benchmark}": self.digest_of(f"benchmarks/{d.benchmark}")
                for d in mixture.decontaminate
            },
        }

    def _pictures_digest(self, collections: tuple[str, ...]) -> str:
        """Digest of what the pictures of these collections are; loose ones by their listing."""
        if self.deferred:
            return "deferred"
        loose = [
            listing_digest(place)
            for name, folder in self.recipe.folders(collections)
            for place in (self.data.images / folder.path, self.data.raw(name) / folder.inside)
            if folder.file is None or place.is_relative_to(self.data.images)
        ]
        return text_digest(*(self.digest_of(f"raw/{name}") for name in collections), *loose)

    def _stamp_of(self, asset: str) -> dict[str, Any]:
        stamp = read_stamp(self.stamp(asset))
        if stamp is None:
            raise UserError(asset, "has not been built", _FIRST)
        return stamp

    def digest_of(self, asset: str) -> str:
        """The digest of what a stage's last finished run left."""
        digest: str = self._stamp_of(asset)["digest"]
        return digest
