"""The inputs of sampling a source, prepared once for the images and the screened stage."""

import sys
from pathlib import Path

from imp_data.images.decoding import decoder_version
from imp_data.images.reader import ImageReader, data_image_reader
from imp_data.manifests import FORM_NAMES, Decontamination, Recipe, SourceQuota, model_digest
from imp_data.pipeline.stages import StageContext, matches_stamp
from imp_data.raw.image_urls.failed_urls import UrlFailures, collection_failures
from imp_data.redaction import redact
from imp_data.screening.decontamination.benchmark_index import read_benchmark_index
from imp_data.screening.decontamination.questions.question_stage import QuestionPacks
from imp_data.screening.exclusion_rules import PreparedRule, prepare_rule
from imp_data.screening.image_filters import BenchmarkMatcher, prepare_matcher
from imp_data.screening.languages import detector_version
from imp_data.screening.near_duplicates import NearDuplicateIndex
from imp_data.screening.text_filters import BenchmarkQuestions, Candidates, find_candidates
from imp_data.storage.code_version import code_version
from imp_data.storage.data_dir import DataDir
from imp_data.storage.digests import file_sha256, listing_digest, text_digest
from imp_data.storage.object_store import is_file
from imp_data.storage.stage_cache import read_stamp


class SamplingInputs(StageContext):
    """The candidates of a source, the matchers of the benchmarks, and the reader of images."""

    reports_only = False
    """Whether a fault that all records or images of a source have is a figure, not an error."""
    max_rows: int | None = None
    """How many records of a source are read; None: all. A build reads all."""

    def __init__(self, recipe: Recipe, data: DataDir | None = None) -> None:
        super().__init__(recipe, data)
        self._matchers: tuple[list[str], list[BenchmarkMatcher]] | None = None
        self._candidates: tuple[dict[str, str], Candidates] | None = None

    def reader(self, collections: tuple[str, ...]) -> ImageReader:
        """Return the reader of the images of these collections."""
        folders = self.recipe.folders(collections)
        return data_image_reader(self.data, folders)

    def images_digest(self, source: str) -> str:
        """Digest a source's images and the code on them: equal digests, equal fingerprints."""
        manifest = self.recipe.sources[source]
        # A form may hold its images among its records.
        own = [self.digest_of(f"raw/{source}")] if manifest.layout in FORM_NAMES else []
        return text_digest(
            self._images_digest(manifest.images),
            *own,
            model_digest(self.recipe.mixture.limits),
            code_version("imp_data.images.fingerprint_cache"),
            decoder_version(),
        )

    def _images_digest(self, collections: tuple[str, ...]) -> str:
        """Digest the images of these collections; loose files by their listing."""
        if self.deferred:
            return "deferred"
        loose = [
            listing_digest(place)
            for name, folder in self.recipe.folders(collections)
            for place in (self.data.images / folder.path, self.data.raw(name) / folder.inside)
            if folder.file is None or place.is_relative_to(self.data.images)
        ]
        return text_digest(*(self.digest_of(f"raw/{name}") for name in collections), *loose)

    def url_failures(self, source: str) -> UrlFailures:
        """Return why images of a source could not be downloaded by URL, by image."""
        if self.deferred:
            return {}
        found: UrlFailures = {}
        for name in self.recipe.sources[source].images:
            found |= collection_failures(self.recipe.images[name], self.data.raw(name))
        return found

    def earlier_fingerprints(self, source: str, images: str) -> list[Path]:
        """Return the files of the last build and of other mixtures with the same images.

        The code on images must be the same too, and the file must match its stamp: a damaged file
        is skipped and its images are fingerprinted again.
        """
        found = []
        for mixture in (self.name, *sorted({*self.data.mixture_names} - {self.name})):
            stamp = self.data.stamp(f"mixtures/{mixture}/images/{source}")
            known = read_stamp(stamp)
            if known and known["inputs"].get("images") == images:
                file = self.data.fingerprints(mixture, source)
                if matches_stamp(stamp, file):
                    found.append(file)
                elif is_file(file):
                    problem = "is not as its stage wrote it; its images are fingerprinted again"
                    print(redact(f"{file}: {problem}"), file=sys.stderr)
        return found

    def forget(self) -> None:
        """Release the prepared benchmarks and candidates."""
        self._matchers = self._candidates = None

    def quota(self, source: str) -> SourceQuota:
        """Return how many Samples to take from a source."""
        return self.recipe.mixture.quota_of(source)

    def exclusion_rules(self, source: str, on_images: bool) -> list[PreparedRule]:
        """Return the rules on a source's images, or the others, with what their files hold."""
        license = self.recipe.sources[source].license
        return [
            prepare_rule(rule, license, self.recipe.rule_file(rule))
            for rule in self.recipe.rules(source)
            if rule.needs_image == on_images
        ]

    def candidates(self, source: str) -> Candidates:
        """Return a source's candidates; those of the last source are kept for the next stage."""
        inputs = {"source": source, **self.sampling_digests(source)}
        if self._candidates is None or self._candidates[0] != inputs:
            self._candidates = None  # before the next, so that there is never more than one
            records = self.data.records(source)
            rules = self.exclusion_rules(source, on_images=False)
            matchers = self.benchmark_matchers()
            asked = self.benchmark_questions()
            found = find_candidates(self.recipe.mixture, source, records, matchers, rules, asked)
            self._candidates = (inputs, found)
        return self._candidates[1]

    def benchmark_questions(self) -> BenchmarkQuestions | None:
        """Return the question packs of benchmarks; None if no benchmark has questions."""
        benchmarks = self.recipe.benchmarks
        policies = {
            d.benchmark: d.policy
            for d in self.recipe.mixture.decontaminate
            if benchmarks[d.benchmark].questions is not None
        }
        if not policies:
            return None
        digest = text_digest(*(self.digest_of(f"benchmarks/{name}") for name in policies))
        files = tuple(self.data.question_pack(name) for name in policies)
        return BenchmarkQuestions(QuestionPacks(files, digest), policies)

    def benchmark_matchers(self) -> list[BenchmarkMatcher]:
        """Return the benchmarks' matchers; prepare them again if a pack has changed."""
        names = [d.benchmark for d in self.recipe.mixture.decontaminate]
        digests = [self.digest_of(f"benchmarks/{name}") for name in names]
        if self._matchers is None or self._matchers[0] != digests:
            ready = [self._matcher(d) for d in self.recipe.mixture.decontaminate]
            self._matchers = (digests, ready)
        return self._matchers[1]

    def _matcher(self, rule: Decontamination) -> BenchmarkMatcher:
        name = rule.benchmark
        pack = read_benchmark_index(self.data.benchmark(name))
        return prepare_matcher(pack, rule.max_distance_bits)

    @property
    def _near_duplicate_bits(self) -> int | None:
        """Return the distance of near-duplicates to drop; None if the mixture drops none."""
        policy = self.recipe.mixture.near_duplicates
        return policy.max_distance_bits if policy.policy == "drop" else None

    def near_duplicate_index(self) -> NearDuplicateIndex | None:
        """Return an empty index for one source; None if the mixture drops no near-duplicates."""
        bits = self._near_duplicate_bits
        return None if bits is None else NearDuplicateIndex(bits)

    def sampling_digests(self, source: str) -> dict[str, str]:
        """Return the digests of all that decides the sample of a source."""
        mixture = self.recipe.mixture
        kinds = [e for e in mixture.kind_exclusions if e.source == source]
        rules = (mixture.limits, *kinds, *mixture.decontaminate)
        bits = self._near_duplicate_bits
        return {
            "draw": f"seed {mixture.seed}, quota {mixture.stated_quota(source)}, "
            f"{mixture.exact_repeats}",
            "images_are": mixture.images,
            "rules": model_digest(*rules),
            **({} if bits is None else {"twins": f"within {bits} bits"}),
            **self._exclusion_digests(source),
            "records": self.digest_of(f"records/{source}"),
            **{
                f"benchmarks/{d.benchmark}": self.digest_of(f"benchmarks/{d.benchmark}")
                for d in mixture.decontaminate
            },
        }

    def _exclusion_digests(self, source: str) -> dict[str, str]:
        """Return the digests of a source's exclusion rules, of their files and of their library."""
        rules = self.recipe.rules(source)
        if not rules:
            return {}
        files = [file_sha256(f) for rule in rules if (f := self.recipe.rule_file(rule))]
        detector = detector_version() if any(rule.language for rule in rules) else ""
        license = self.recipe.sources[source].license
        return {"exclusions": text_digest(model_digest(*rules), license, *files, detector)}
