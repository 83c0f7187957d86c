"""Manifests of mixtures: parts, rules, limits; and a recipe, a mixture with all it refers to."""

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imp_data.errors import UserError
from imp_data.manifests.base import StrictModel, field_position, load_manifest
from imp_data.manifests.benchmark import Benchmark
from imp_data.manifests.benchmark_questions import ContaminationPolicy
from imp_data.manifests.earlier_names import kind_dir
from imp_data.manifests.exclusion_rules import AnyExclusion, Exclusion, ExclusionRule
from imp_data.manifests.fields import Count, Name, Positive
from imp_data.manifests.mixture_part import MixturePart, is_none
from imp_data.manifests.quotas import SourceQuota, parse_quota, share_out
from imp_data.manifests.sources import (
    ExpectedCounts,
    ImageCollection,
    ImageFolder,
    Publication,
    Source,
    UpstreamFile,
    find_path_clash,
)


class Decontamination(StrictModel):
    """A benchmark to keep out of the mixture, and the distance up to which images match."""

    benchmark: Name
    max_distance_bits: Annotated[int, Field(ge=0, le=31)] = Field(
        description="Hamming distance of 64-bit perceptual hashes up to which images match"
    )
    expect_ids: Count | None = Field(None, description="overrides `expect_ids` of the benchmark")
    altered_images: Count = Field(
        100, description="number of its images that are altered to measure the matcher's recall"
    )
    min_recall: Annotated[float, Field(ge=0, le=1)] = Field(
        0.95, description="a check warns if the recall on slight alterations is lower"
    )
    # Left out of the digest if not stated, so that digests of other manifests stay the same.
    policy: ContaminationPolicy = Field(
        ContaminationPolicy(),
        exclude_if=lambda policy: policy == ContaminationPolicy(),
        description="what happens to a Sample that repeats the benchmark; questions are compared "
        "if the benchmark's manifest has `questions`",
    )


class NearDuplicates(StrictModel):
    """How near-duplicate images within the mixture and conflicting answers are handled."""

    policy: Literal["report", "drop", "ignore"] = Field(
        "report",
        description="`report` lists them in a report beside the mixture and removes nothing; "
        "`drop` also drops a Sample whose image is a near-duplicate of one that the same source "
        "has kept before, in sampling order; images of other sources, and other conversations on "
        "the same image, never count",
    )
    max_distance_bits: Annotated[int, Field(ge=0, le=15)] = Field(
        4, description="Hamming distance of 64-bit hashes up to which images are near-duplicates"
    )
    max_answer_words: Positive = Field(
        5, description="longer answers are not compared: few of them agree word for word"
    )
    listed: Count = Field(100, description="number of findings of each kind that are listed")


class Limits(StrictModel):
    """Limits beyond which a record or an image is dropped, or an archive is refused."""

    max_record_bytes: Positive = Field(
        8 * 1024 * 1024,
        description="size of one record as upstream publishes it, or of all records on one image",
    )
    max_read_seconds: Positive = Field(120, description="time that parsing records may take")
    max_turns: Positive = 1_000
    max_characters: Positive = 200_000
    min_side_px: Positive = 8
    max_pixels: Positive = 178_956_970
    max_image_bytes: Positive = 256 * 1024 * 1024
    max_decode_seconds: Positive = Field(300, description="time that decoding an image may take")
    # Extraction limits do not change any record, so no digest includes them.
    max_unpacked_bytes: Annotated[int, Field(gt=0)] = Field(
        1 << 38, exclude=True, description="total size of what is extracted from one archive"
    )
    max_members: Annotated[int, Field(gt=0)] = Field(
        5_000_000, exclude=True, description="number of members of an archive that is extracted"
    )


class Mixture(StrictModel):
    """How much to sample from which source, what to keep out, and how to write it."""

    name: Name
    title: str
    paper: str | None = Field(None, description="paper that the mixture rebuilds: arXiv:<number>")
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    drawn: bool = Field(False, description="generate the demo's files instead of downloading")
    images: Literal["required", "deferred"] = "required"
    exact_repeats: Literal["keep", "drop"] = "keep"
    parts: Annotated[tuple[MixturePart, ...], Field(min_length=1)]
    # Left out of the digest of manifests that do not state it: their mixtures stay as they are.
    keep_turns: tuple[Literal["system", "tool"], ...] = Field(
        (),
        exclude_if=lambda kept: not kept,
        description="turns to keep besides those by human and gpt; a record with another is "
        "dropped",
    )
    total: Positive | None = Field(
        None, exclude_if=is_none, description="number of Samples that the parts' weights share"
    )
    exclusions: tuple[AnyExclusion, ...] = ()
    decontaminate: tuple[Decontamination, ...] = ()
    limits: Limits = Limits()
    # These three do not change the content of a mixture, so no digest of the manifest includes
    # them.
    near_duplicates: NearDuplicates = Field(NearDuplicates(), exclude=True)
    engine: Literal["local", "ray"] = Field(
        "local", exclude=True, description="execution engine; IMP_ENGINE overrides it"
    )
    model: str | None = Field(
        None,
        exclude=True,
        pattern=r"^[a-z0-9_-]+$",
        description="the model to train on it: a file of manifests/models/, without .yaml",
    )
    shard_rows: Positive = 50_000

    @model_validator(mode="after")
    def _check_references(self) -> "Mixture":
        sources = [part.source for part in self.parts]
        unique = {
            "parts": (sources, "give each source one quota"),
            "exclusions": ([e.name for e in self.exclusions], "give each a distinct name"),
            "decontaminate": ([d.benchmark for d in self.decontaminate], "keep one of the two"),
        }
        for field, (names, remedy) in unique.items():
            if repeated := [name for name, count in Counter(names).items() if count > 1]:
                raise ValueError(f"{field}: {', '.join(sorted(repeated))} occurs twice; {remedy}")
        named = {e.source for e in self.kind_exclusions}
        named |= {source for rule in self.exclusion_rules for source in rule.sources or ()}
        unknown = sorted(named - set(sources))
        if unknown:
            raise ValueError(f"exclusions: {', '.join(unknown)} is not among the parts")
        if self.near_duplicates.policy == "drop" and self.images == "deferred":
            raise ValueError("near_duplicates: deferred images cannot be compared")
        return self

    @model_validator(mode="after")
    def _check_weights(self) -> "Mixture":
        weights = [part.weight for part in self.parts if part.weight is not None]
        if bool(weights) != (self.total is not None):
            raise ValueError("total: state `total` and a weight of each part, or neither")
        if weights and len(weights) < len(self.parts):
            raise ValueError("parts: give each part a weight, or none")
        if weights and (sum_ := sum(Fraction(str(weight)) for weight in weights)) != 1:
            raise ValueError(f"parts: the weights sum to {float(sum_):g}, not to 1")
        return self

    @property
    def kind_exclusions(self) -> tuple[Exclusion, ...]:
        """Return the exclusions that two criteria identify."""
        return tuple(e for e in self.exclusions if isinstance(e, Exclusion))

    @property
    def exclusion_rules(self) -> tuple[ExclusionRule, ...]:
        """Return the other exclusions."""
        return tuple(e for e in self.exclusions if isinstance(e, ExclusionRule))

    def quota_of(self, source: str) -> SourceQuota:
        """Return how many Samples to take from a source."""
        return parse_quota(self.stated_quota(source))

    def stated_quota(self, source: str) -> int | str | dict[str, int | str]:
        """Return a source's quota as the manifest states it; of a weight, its share of `total`."""
        number = next(n for n, part in enumerate(self.parts) if part.source == source)
        if self.total is None:
            return self.parts[number].quota
        return share_out(self.total, [part.weight or 0 for part in self.parts])[number]


class Recipe(StrictModel):
    """A mixture with every manifest it refers to."""

    mixture: Mixture
    sources: dict[str, Source]
    images: dict[str, ImageCollection]
    benchmarks: dict[str, Benchmark]
    manifests_dir: Path = Field(Path("manifests"), description="the folder of these manifests")

    def part(self, source: str) -> MixturePart:
        """Return the mixture's part of that source."""
        return next(p for p in self.mixture.parts if p.source == source)

    def rules(self, source: str) -> tuple[ExclusionRule, ...]:
        """Return the exclusion rules that may exclude records of a source."""
        license = self.sources[source].license
        rules = self.mixture.exclusion_rules
        return tuple(rule for rule in rules if rule.applies_to(source, license))

    def rule_file(self, rule: ExclusionRule) -> Path | None:
        """Return the path of the file that a rule reads, if it reads one."""
        return self.manifests_dir / "mixtures" / rule.file if rule.file else None

    def decontamination(self, benchmark: str) -> Decontamination:
        """Return the mixture's settings for that benchmark."""
        return next(d for d in self.mixture.decontaminate if d.benchmark == benchmark)

    def expect(self, source: str) -> ExpectedCounts:
        """Return the expected counts: those of the mixture if it states any, else the source's."""
        return self.part(source).expect or self.sources[source].expect

    def folders(self, names: tuple[str, ...]) -> tuple[tuple[str, ImageFolder], ...]:
        """Return (collection, folder) of the named collections, the longest path first."""
        pairs = [(name, folder) for name in names for folder in self.images[name].all_folders]
        return tuple(sorted(pairs, key=lambda pair: (-len(pair[1].path), pair[1].path)))


MANIFEST_KINDS: dict[str, type[StrictModel]] = {
    "sources": Source,
    "images": ImageCollection,
    "benchmarks": Benchmark,
    "mixtures": Mixture,
}


def load_recipe(mixture_path: Path) -> Recipe:
    """Load a mixture and every manifest it refers to, from the directories beside its own."""
    return _load_references(load_manifest(mixture_path, Mixture), mixture_path.parent.parent)


def benchmark_recipe(benchmarks: Sequence[str], manifests_dir: Path, ids_only: bool) -> Recipe:
    """Load the manifests of benchmarks alone, as a recipe that builds no mixture."""
    decontaminate = tuple(
        Decontamination(benchmark=name, max_distance_bits=0, altered_images=0)
        for name in benchmarks
    )
    # A manifest must state at least one part; this recipe has none.
    mixture = Mixture.model_construct(
        name="packs",
        title="Benchmark packs",
        seed=0,
        parts=(),
        images="deferred" if ids_only else "required",
        decontaminate=decontaminate,
    )
    return _load_references(mixture, manifests_dir)


def _load_references(mixture: Mixture, manifests_dir: Path) -> Recipe:
    sources_dir, benchmarks_dir = manifests_dir / "sources", manifests_dir / "benchmarks"
    sources = {
        p.source: load_manifest(sources_dir / f"{p.source}.yaml", Source) for p in mixture.parts
    }
    benchmarks = {
        d.benchmark: load_manifest(benchmarks_dir / f"{d.benchmark}.yaml", Benchmark)
        for d in mixture.decontaminate
    }
    collections = {n for s in sources.values() for n in s.images}
    collections |= {n for b in benchmarks.values() for n in b.images}
    images_dir = kind_dir(manifests_dir, "images")
    images = {
        n: load_manifest(images_dir / f"{n}.yaml", ImageCollection) for n in sorted(collections)
    }
    published: dict[str, Mapping[str, Publication]] = {
        "sources": sources,
        "images": images,
        "benchmarks": benchmarks,
    }
    for name in sorted({*sources, *images, *benchmarks}):
        _check_files(manifests_dir, name, published)
    return Recipe(
        mixture=mixture,
        sources=sources,
        images=images,
        benchmarks=benchmarks,
        manifests_dir=manifests_dir,
    )


def _check_files(
    manifests_dir: Path, name: str, published: Mapping[str, Mapping[str, Publication]]
) -> None:
    """Raise UserError if manifests of one name, which share a folder, disagree about a file."""
    known: dict[str, UpstreamFile] = {}
    for kind, manifests in published.items():
        for number, file in enumerate(manifests[name].files if name in manifests else ()):
            if known.get(file.path) != file and (clash := find_path_clash([*known, file.path])):
                path = kind_dir(manifests_dir, kind) / f"{name}.yaml"
                where = f"{field_position(path, 'files', number)}, files.{number}"
                problem = f"{where}: another manifest of this name states it differently ({clash})"
                raise UserError(path, problem, "state the file equally in both, or only in one")
            known[file.path] = file
