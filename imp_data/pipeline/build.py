"""The stages of a build in order, each with its inputs; an asset calls one of them."""

from collections.abc import Collection, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import orjson

from imp_data.images.decoding import decoder_version
from imp_data.manifests import Recipe, load_recipe, model_digest
from imp_data.mixture.build import build_mixture
from imp_data.mixture.ledger_writer import SourceInputs
from imp_data.mixture.mixture_json import MANIFEST
from imp_data.mixture.shards import shard_names
from imp_data.pipeline.images_stage import images_stage
from imp_data.pipeline.mixture_facts import LIBRARIES, mixture_facts
from imp_data.pipeline.raw_ahead import RawAhead, order_by_size
from imp_data.pipeline.required_inputs import check_inputs
from imp_data.pipeline.sampling_inputs import SamplingInputs
from imp_data.pipeline.screened_stage import screened_stage
from imp_data.pipeline.stages import CARD, QUESTION_CODE, stage_code_version
from imp_data.raw.stage import check_unchanged, run_raw_stage
from imp_data.records.build import build_records
from imp_data.screening.decontamination.benchmark_index import build_benchmark
from imp_data.screening.decontamination.questions.question_stage import write_benchmark_questions
from imp_data.storage.code_version import code_version
from imp_data.storage.data_dir import DataDir
from imp_data.storage.digests import library_versions, text_digest
from imp_data.storage.stage_cache import StageResult, read_stamp, write_stamp


class Build(SamplingInputs):
    """One mixture being built in one data directory; each method runs one stage.

    A stage whose inputs, code and outputs are unchanged does nothing; its result states that.
    """

    def __init__(self, recipe: Recipe, data: DataDir | None = None) -> None:
        super().__init__(recipe, data)
        self.just_built: set[str] = set()
        """Stages that did work when they last ran here: their files need no second check."""
        self._ahead: RawAhead | None = None

    @classmethod
    def of(cls, mixture_path: Path) -> "Build":
        """Return the build of the mixture that a manifest describes."""
        return cls(load_recipe(mixture_path))

    def inputs(self) -> StageResult:
        """Check before any download that all inputs exist; see `check_inputs`."""
        check_inputs(self)
        digest = model_digest(*(m for manifests in self.published.values() for m in manifests))
        stamp, inputs = (
            self.stamp("inputs"),
            {"code": stage_code_version("inputs"), "manifests": digest},
        )
        known = read_stamp(stamp)
        figures = {"names": len(self.published)}
        if new := known is None or known["inputs"] != inputs:
            write_stamp(stamp, inputs, digest, figures)
        # All mixtures share the raw folders, which depend on this: the digest is always the same.
        return StageResult(text_digest("looked for"), figures, built=new)

    def raw(self, name: str) -> StageResult:
        """Download, verify and unpack the files published under a name.

        The files of a drawn world are pinned to the digests with which they were drawn; lock files
        pin others whose manifest states no sha256. See `start_raw` for several names at a time.
        """
        result = self._ahead.take(name) if self._ahead else None
        result = result or self._run_raw(name)
        self._note_result(f"raw/{name}", result)
        return result

    def start_raw(self, names: Collection[str], run: str = "") -> None:
        """Run the raw stages of these names in the background; `raw` waits for the one it needs.

        Do nothing for a drawn world, or if the same run started them before.
        """
        if self.recipe.mixture.drawn or (self._ahead and self._ahead.run == run):
            return
        self.stop_raw()
        ordered = [name for name in self.raw_order() if name in names]
        self._ahead = RawAhead(self._run_raw, ordered, run)

    def stop_raw(self) -> None:
        """End what `start_raw` started and has not finished; partial files are kept."""
        if self._ahead:
            self._ahead.stop()
        self._ahead = None

    def raw_order(self) -> list[str]:
        """Return the names of the raw folders, those with the largest files last."""
        return order_by_size(self.published, self.locks)

    def _run_raw(self, name: str, stop: Event | None = None) -> StageResult:
        manifests, folder = self.published[name], self.data.raw(name)
        stamp = self.stamp(f"raw/{name}")
        run = self.run_of(f"raw/{name}")
        pins, limits = self._pins(name), self.recipe.mixture.limits
        code = stage_code_version("raw")
        return run_raw_stage(manifests, folder, stamp, pins, code, run, self.locks, limits, stop)

    def records(self, source: str) -> StageResult:
        """Convert upstream records to validated Samples, with one ledger row for each record."""
        manifest, limits = self.recipe.sources[source], self.recipe.mixture.limits
        records, ledger = self.data.records(source), self.data.ledger(source)
        kept = self.recipe.mixture.keep_turns

        def build() -> dict[str, Any]:
            self._check_raw(source, manifest.records)
            raw, only = self.data.raw(source), self.reports_only
            return build_records(manifest, raw, limits, records, ledger, kept, only, self.max_rows)

        inputs = {
            "code": stage_code_version("records"),
            "libraries": str(library_versions(*LIBRARIES)),
            "manifest": model_digest(manifest, limits),
            "raw": self.digest_of(f"raw/{source}"),
            # Mixtures that keep the same turns share the stage's results.
            **({"keep_turns": ", ".join(sorted(kept))} if kept else {}),
        }
        return self.stage(f"records/{source}", inputs, [records, ledger], build)

    def benchmark(self, name: str) -> StageResult:
        """Write the ids and fingerprints of a benchmark's images, and digests of its questions."""
        manifest, limits = self.recipe.benchmarks[name], self.recipe.mixture.limits
        out = self.data.benchmark(name)
        reader = None if self.deferred else self.reader(manifest.images)
        altered = self.recipe.decontamination(name).altered_images

        packs = () if manifest.pack is None else (manifest.pack,)
        outputs, files = [out], (*manifest.id_files, *manifest.records, *packs)
        if manifest.questions:
            outputs.append(self.data.question_pack(name))
            files = tuple(dict.fromkeys((*files, *manifest.questions.files)))

        def build() -> dict[str, Any]:
            self._check_raw(name, files)
            raw = self.data.raw(name)
            figures = build_benchmark(manifest, raw, reader, limits, out, altered)
            if manifest.questions:
                asked = write_benchmark_questions(manifest, raw, outputs[-1])
                figures = {**figures, "questions": asked}
            return figures

        inputs = {
            "code": stage_code_version("benchmarks"),
            "decoder": decoder_version(),
            "altered": str(altered),
            "manifest": model_digest(manifest, limits),
            "raw": self.digest_of(f"raw/{name}"),
            "images": self._images_digest(manifest.images),
            **({"questions": code_version(QUESTION_CODE)} if manifest.questions else {}),
        }
        return self.stage(f"benchmarks/{name}", inputs, outputs, build)

    def images(self, source: str) -> StageResult:
        """Fingerprint the images that the quota sampling reaches."""
        return images_stage(self, source)

    def screened(self, source: str) -> StageResult:
        """Decide for each Sample: kept, held back by a quota, or dropped for a reason."""
        return screened_stage(self, source)

    def mixture(self) -> StageResult:
        """Build the folder that datasets.load_from_disk opens, with ledger and mixture.json."""
        mixture = self.recipe.mixture
        folder = self.data.mixture(mixture.name)
        screened = [self.figures(f"screened/{part.source}") for part in mixture.parts]
        rows = sum(figures["passed"] + figures["copies"] for figures in screened)
        others = (MANIFEST, "ledger.parquet", "state.json", "dataset_info.json")
        outputs = [folder / name for name in (*others, *shard_names(rows, mixture.shard_rows))]
        facts = mixture_facts(self.recipe, self.published, self.figures)

        def build() -> dict[str, Any]:
            self.forget()  # this stage reads no images
            sources = [self._source_inputs(part.source) for part in mixture.parts]
            order = (mixture.seed, mixture.shard_rows)
            manifest = build_mixture(folder, sources, *order, facts, self._is_built_card)
            return {
                "rows": manifest["rows"],
                "digest": manifest["digest"],
                "parts": manifest["parts"],
            }

        inputs = {
            "code": stage_code_version("mixture"),
            "facts": text_digest(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)),
            **{f"records/{p.source}": self.digest_of(f"records/{p.source}") for p in mixture.parts},
            **{
                f"screened/{p.source}": self.digest_of(f"screened/{p.source}")
                for p in mixture.parts
            },
        }
        result = self.stage("mixture", inputs, outputs, build, lambda figures: figures["digest"])
        self._note_result("mixture", result)
        return result

    def _note_result(self, asset: str, result: StageResult) -> None:
        (self.just_built.add if result.built else self.just_built.discard)(asset)

    def _check_raw(self, name: str, patterns: Sequence[str]) -> None:
        """Raise UserError if a raw file changed since it was verified; skip files just verified."""
        if f"raw/{name}" not in self.just_built:
            check_unchanged(self.data.raw(name), patterns, self.figures(f"raw/{name}"))

    def _is_built_card(self, path: Path) -> bool:
        return path.name == CARD and self.is_unchanged("card", path)

    def _pins(self, name: str) -> dict[str, str]:
        """Return {path: sha256} of a raw folder's files as the stage `world` drew them."""
        if not self.recipe.mixture.drawn:
            return {}
        files: dict[str, str] = self.figures("world")["files"]
        prefix = f"{name}/"
        return {p.removeprefix(prefix): s for p, s in files.items() if p.startswith(prefix)}

    def _source_inputs(self, source: str) -> SourceInputs:
        return SourceInputs(
            source=source,
            license=self.recipe.sources[source].license,
            records=self.data.records(source),
            ledger=self.data.ledger(source),
            screened=self.data.screened(self.name, source),
        )
