"""What a mixture is made of, by which rules, and all the manifests that it names."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imp_data.manifest.published import Benchmark, Expect, Folder, Pictures, Source
from imp_data.manifest.strict import Count, Name, Strict, load


class Part(Strict):
    """One source's share of a mixture."""

    source: Name
    quota: Annotated[int, Field(gt=0)]
    paper: Count | None = Field(None, description="the paper's rounded figure, for the card")
    group: str = Field(description="the paper's heading for it")
    expect: Expect | None = Field(None, description="instead of the source's own")


class Exclusion(Strict):
    """A kind of record that is taken out of one source, told by two signs that must agree."""

    name: Name
    source: Name
    image_prefix: str
    prompt: str = Field(description="text that the first question contains")
    subset: str = Field(description="the subset that must be empty afterwards")
    expect: Count | None = None
    because: str


class Decontamination(Strict):
    """A benchmark to be kept out, and how alike two pictures must be to count as one."""

    benchmark: Name
    max_distance_bits: Annotated[int, Field(ge=0, le=31)] = Field(
        description="Hamming distance of 64-bit perceptual hashes up to which pictures match"
    )
    expect_ids: Count | None = Field(None, description="instead of the benchmark's own")
    altered_pictures: Count = Field(
        100, description="so many of its pictures are altered, to measure the matcher's recall"
    )
    min_recall: Annotated[float, Field(ge=0, le=1)] = Field(
        0.95, description="recall on slight alterations below which a check warns"
    )


class NearDuplicates(Strict):
    """What becomes of pictures that look alike within the mixture, and of answers that disagree."""

    policy: Literal["report", "drop", "ignore"] = Field(
        "report",
        description="`report` tells of them beside the mixture, nothing is taken out; `drop` also "
        "drops a Sample whose picture looks like one that its own source has kept before, in draw "
        "order; another source's, or other conversations on the same picture, never count",
    )
    max_distance_bits: Annotated[int, Field(ge=0, le=15)] = Field(
        4, description="Hamming distance of 64-bit hashes up to which two pictures look alike"
    )
    max_answer_words: Annotated[int, Field(gt=0)] = Field(
        5, description="longer answers are not compared: few of them agree word for word"
    )
    listed: Count = Field(100, description="findings of each kind that are told in full")


class Limits(Strict):
    """Bounds beyond which a record or a picture is refused."""

    max_turns: Annotated[int, Field(gt=0)] = 1_000
    max_characters: Annotated[int, Field(gt=0)] = 200_000
    min_side_px: Annotated[int, Field(gt=0)] = 8
    max_pixels: Annotated[int, Field(gt=0)] = 178_956_970
    max_image_bytes: Annotated[int, Field(gt=0)] = 256 * 1024 * 1024
    max_decode_seconds: Annotated[int, Field(gt=0)] = Field(
        300, description="that a picture may keep its decoder busy"
    )
    # How much is unpacked decides nothing about a record: no digest has these.
    max_unpacked_bytes: Annotated[int, Field(gt=0)] = Field(
        1 << 38, exclude=True, description="that one archive may unpack to, where it is unpacked"
    )
    max_members: Annotated[int, Field(gt=0)] = Field(
        5_000_000, exclude=True, description="that one archive may have, where it is unpacked"
    )


class Mixture(Strict):
    """What to draw from which source, what to keep out, how to write it."""

    name: Name
    title: str
    paper: str | None = Field(None, description="that the mixture rebuilds: arXiv:<number>")
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    drawn: bool = Field(False, description="draw the demo's small world instead of fetching files")
    pictures: Literal["required", "deferred"] = "required"
    exact_repeats: Literal["keep", "drop"] = "keep"
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]
    exclusions: tuple[Exclusion, ...] = ()
    decontaminate: tuple[Decontamination, ...] = ()
    limits: Limits = Limits()
    # These three say how a mixture is made and what is done with it, not what is in it: no digest
    # of the manifest has them.
    near_duplicates: NearDuplicates = Field(NearDuplicates(), exclude=True)
    engine: Literal["local", "ray"] = Field(
        "local", exclude=True, description="what does the work; IMP_ENGINE overrides it"
    )
    model: str | None = Field(
        None,
        exclude=True,
        pattern=r"^[a-z0-9_-]+$",
        description="the model to be trained on it: a file of manifests/models/, without .yaml",
    )
    shard_rows: Annotated[int, Field(gt=0)] = 50_000

    @model_validator(mode="after")
    def _refers_to_its_parts(self) -> "Mixture":
        names = [part.source for part in self.parts]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"parts: {', '.join(twice)} stands twice; give each source one quota")
        strangers = sorted({e.source for e in self.exclusions} - set(names))
        if strangers:
            raise ValueError(f"exclusions: {', '.join(strangers)} is not among the parts")
        if self.near_duplicates.policy == "drop" and self.pictures == "deferred":
            raise ValueError("near_duplicates: pictures that are deferred cannot be compared")
        return self


class Recipe(Strict):
    """A mixture with every manifest it names."""

    mixture: Mixture
    sources: dict[str, Source]
    pictures: dict[str, Pictures]
    benchmarks: dict[str, Benchmark]
    rooms: Path = Field(Path("manifests"), description="the folder that all these stand in")

    def part(self, source: str) -> Part:
        """The mixture's part of that source."""
        return next(p for p in self.mixture.parts if p.source == source)

    def decontamination(self, benchmark: str) -> Decontamination:
        """What the mixture says of that benchmark."""
        return next(d for d in self.mixture.decontaminate if d.benchmark == benchmark)

    def expect(self, source: str) -> Expect:
        """The counts that apply: the mixture's own where it states them, else the source's."""
        return self.part(source).expect or self.sources[source].expect

    def folders(self, names: tuple[str, ...]) -> tuple[tuple[str, Folder], ...]:
        """(collection, folder) of the named collections, the longest path first."""
        pairs = [(name, folder) for name in names for folder in self.pictures[name].folders]
        return tuple(sorted(pairs, key=lambda pair: (-len(pair[1].path), pair[1].path)))


ROOMS: dict[str, type[Strict]] = {
    "sources": Source,
    "pictures": Pictures,
    "benchmarks": Benchmark,
    "mixtures": Mixture,
}


def load_recipe(mixture_path: Path) -> Recipe:
    """The mixture at `mixture_path` and all it refers to, from the rooms beside its own."""
    mixture = load(mixture_path, Mixture)
    rooms = mixture_path.parent.parent
    sources = {
        p.source: load(rooms / "sources" / f"{p.source}.yaml", Source) for p in mixture.parts
    }
    benchmarks = {
        d.benchmark: load(rooms / "benchmarks" / f"{d.benchmark}.yaml", Benchmark)
        for d in mixture.decontaminate
    }
    named = {n for s in sources.values() for n in s.pictures}
    named |= {n for b in benchmarks.values() for n in b.pictures}
    pictures = {n: load(rooms / "pictures" / f"{n}.yaml", Pictures) for n in sorted(named)}
    return Recipe(
        mixture=mixture, sources=sources, pictures=pictures, benchmarks=benchmarks, rooms=rooms
    )
