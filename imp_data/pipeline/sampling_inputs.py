"""What decides which Samples a mixture draws from a source, made ready once for two stages."""

import sys
from pathlib import Path

from imp_data.images.decoding import decoder
from imp_data.images.reader import ImageReader, data_image_reader
from imp_data.manifests import Decontamination, Recipe, model_digest
from imp_data.pipeline.stages import Stamps, is_of_stamp
from imp_data.redaction import redacted
from imp_data.screening.decontamination.benchmark_index import read_benchmark_index
from imp_data.screening.image_filters import Benchmarked, benchmarked
from imp_data.screening.near_duplicates import NearDuplicateIndex
from imp_data.screening.text_filters import Candidates, candidates
from imp_data.storage.code_version import code_version
from imp_data.storage.data_dir import DataDir
from imp_data.storage.digests import listing_digest, text_digest
from imp_data.storage.object_store import is_file
from imp_data.storage.stage_cache import read_stamp


class Draws(Stamps):
    """The candidates of a source, the benchmarks kept out, and where images are."""

    def __init__(self, recipe: Recipe, data: DataDir | None = None) -> None:
        super().__init__(recipe, data)
        self._packs: tuple[list[str], list[Benchmarked]] | None = None
        self._offered: tuple[dict[str, str], Candidates] | None = None

    def reader(self, collections: tuple[str, ...]) -> ImageReader:
        """Where the images of these collections are."""
        folders = self.recipe.folders(collections)
        return data_image_reader(self.data, folders)

    def images_digest(self, source: str) -> str:
        """Digest of a source's images and of what looks at them: equal, equal fingerprints."""
        return text_digest(
            self._images_digest(self.recipe.sources[source].images),
            model_digest(self.recipe.mixture.limits),
            code_version("imp_data.images.fingerprint_cache"),
            decoder(),
        )

    def _images_digest(self, collections: tuple[str, ...]) -> str:
        """Digest of what the images of these collections are; loose ones by their listing."""
        if self.deferred:
            return "deferred"
        loose = [
            listing_digest(place)
            for name, folder in self.recipe.folders(collections)
            for place in (self.data.images / folder.path, self.data.raw(name) / folder.inside)
            if folder.file is None or place.is_relative_to(self.data.images)
        ]
        return text_digest(*(self.digest_of(f"raw/{name}") for name in collections), *loose)

    def earlier_fingerprints(self, source: str, images: str) -> list[Path]:
        """Those of the last build, and of other mixtures', of the same images.

        Also all that looks at images must be the same, and the file that of its stamp: what is
        damaged is made anew by looking at the images again.
        """
        found = []
        for mixture in (self.name, *sorted({*self.data.mixture_names} - {self.name})):
            stamp = self.data.stamp(f"mixtures/{mixture}/images/{source}")
            known = read_stamp(stamp)
            if known and known["inputs"].get("images") == images:
                file = self.data.fingerprints(mixture, source)
                if is_of_stamp(stamp, file):
                    found.append(file)
                elif is_file(file):
                    told = "is not as its stage wrote it; its images are looked at again"
                    print(redacted(f"{file}: {told}"), file=sys.stderr)
        return found

    def forget(self) -> None:
        """Let go of what was made ready: benchmarks' packs and candidates."""
        self._packs = self._offered = None

    def quota(self, source: str) -> int:
        """The samples wanted of a source."""
        return self.recipe.part(source).quota

    def candidates(self, source: str) -> Candidates:
        """Those of the last source asked for are kept: two stages after one another need them."""
        inputs = {"source": source, **self.draw_inputs(source)}
        if self._offered is None or self._offered[0] != inputs:
            self._offered = None  # before the next, so that there is never more than one
            records = self.data.records(source)
            found = candidates(self.recipe.mixture, source, records, self.benchmarked())
            self._offered = (inputs, found)
        return self._offered[1]

    def benchmarked(self) -> list[Benchmarked]:
        """The benchmarks' packs, made ready once and again when one of them has changed."""
        names = [d.benchmark for d in self.recipe.mixture.decontaminate]
        digests = [self.digest_of(f"benchmarks/{name}") for name in names]
        if self._packs is None or self._packs[0] != digests:
            ready = [self._pack(d) for d in self.recipe.mixture.decontaminate]
            self._packs = (digests, ready)
        return self._packs[1]

    def _pack(self, kept_out: Decontamination) -> Benchmarked:
        name = kept_out.benchmark
        pack = read_benchmark_index(self.recipe.benchmarks[name], self.data.benchmark(name))
        return benchmarked(pack, kept_out.max_distance_bits)

    @property
    def _near_duplicate_bits(self) -> int | None:
        """The distance within which a near-duplicate is dropped; None if the mixture drops none."""
        policy = self.recipe.mixture.near_duplicates
        return policy.max_distance_bits if policy.policy == "drop" else None

    def near_duplicate_index(self) -> NearDuplicateIndex | None:
        """Return an empty index for one source; None if the mixture drops no near-duplicates."""
        bits = self._near_duplicate_bits
        return None if bits is None else NearDuplicateIndex(bits)

    def draw_inputs(self, source: str) -> dict[str, str]:
        """What decides a source's draw, by digests."""
        mixture = self.recipe.mixture
        exclusions = [e for e in mixture.exclusions if e.source == source]
        rules = (mixture.limits, *exclusions, *mixture.decontaminate)
        bits = self._near_duplicate_bits
        return {
            "draw": f"seed {mixture.seed}, quota {self.quota(source)}, {mixture.exact_repeats}",
            "images_are": mixture.images,
            "rules": model_digest(*rules),
            **({} if bits is None else {"twins": f"within {bits} bits"}),
            "records": self.digest_of(f"records/{source}"),
            **{
                f"benchmarks/{d.benchmark}": self.digest_of(f"benchmarks/{d.benchmark}")
                for d in mixture.decontaminate
            },
        }
