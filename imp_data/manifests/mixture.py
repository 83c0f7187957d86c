"""What a mixture is made of, by which rules, and all the manifests that it names."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imp_data.errors import UserError
from imp_data.manifests.base import Strict, load, spot_of
from imp_data.manifests.earlier_names import kind_dir
from imp_data.manifests.fields import Count, Name, Positive
from imp_data.manifests.sources import (
    Benchmark,
    Expect,
    File,
    Folder,
    ImageCollection,
    Published,
    Source,
    clashing,
)


class Part(Strict):
    """One source's share of a mixture."""

    source: Name
    quota: Positive
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
    """A benchmark to be kept out, and how alike two images must be to count as one."""

    benchmark: Name
    max_distance_bits: Annotated[int, Field(ge=0, le=31)] = Field(
        description="Hamming distance of 64-bit perceptual hashes up to which images match"
    )
    expect_ids: Count | None = Field(None, description="instead of the benchmark's own")
    altered_images: Count = Field(
        100, description="so many of its images are altered, to measure the matcher's recall"
    )
    min_recall: Annotated[float, Field(ge=0, le=1)] = Field(
        0.95, description="recall on slight alterations below which a check warns"
    )


class NearDuplicates(Strict):
    """What becomes of images that look alike within the mixture, and of answers that disagree."""

    policy: Literal["report", "drop", "ignore"] = Field(
        "report",
        description="`report` tells of them beside the mixture, nothing is taken out; `drop` also "
        "drops a Sample whose image looks like one that its own source has kept before, in draw "
        "order; another source's, or other conversations on the same image, never count",
    )
    max_distance_bits: Annotated[int, Field(ge=0, le=15)] = Field(
        4, description="Hamming distance of 64-bit hashes up to which two images look alike"
    )
    max_answer_words: Positive = Field(
        5, description="longer answers are not compared: few of them agree word for word"
    )
    listed: Count = Field(100, description="findings of each kind that are told in full")


class Limits(Strict):
    """Bounds beyond which a record or an image is refused."""

    max_record_bytes: Positive = Field(
        8 * 1024 * 1024,
        description="of one record as upstream has it, or of all records on one image together",
    )
    max_read_seconds: Positive = Field(120, description="that records may keep their reader busy")
    max_turns: Positive = 1_000
    max_characters: Positive = 200_000
    min_side_px: Positive = 8
    max_pixels: Positive = 178_956_970
    max_image_bytes: Positive = 256 * 1024 * 1024
    max_decode_seconds: Positive = Field(300, description="that an image may keep its decoder busy")
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
    images: Literal["required", "deferred"] = "required"
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
    shard_rows: Positive = 50_000

    @model_validator(mode="after")
    def _refers_to_its_parts(self) -> "Mixture":
        names = [part.source for part in self.parts]
        named = {
            "parts": (names, "give each source one quota"),
            "exclusions": ([e.name for e in self.exclusions], "give each a name of its own"),
            "decontaminate": ([d.benchmark for d in self.decontaminate], "keep one of the two"),
        }
        for field, (some, remedy) in named.items():
            if twice := [name for name, count in Counter(some).items() if count > 1]:
                raise ValueError(f"{field}: {', '.join(sorted(twice))} stands twice; {remedy}")
        strangers = sorted({e.source for e in self.exclusions} - set(names))
        if strangers:
            raise ValueError(f"exclusions: {', '.join(strangers)} is not among the parts")
        if self.near_duplicates.policy == "drop" and self.images == "deferred":
            raise ValueError("near_duplicates: images that are deferred cannot be compared")
        return self


class Recipe(Strict):
    """A mixture with every manifest it names."""

    mixture: Mixture
    sources: dict[str, Source]
    images: dict[str, ImageCollection]
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
        pairs = [(name, folder) for name in names for folder in self.images[name].folders]
        return tuple(sorted(pairs, key=lambda pair: (-len(pair[1].path), pair[1].path)))


ROOMS: dict[str, type[Strict]] = {
    "sources": Source,
    "images": ImageCollection,
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
    named = {n for s in sources.values() for n in s.images}
    named |= {n for b in benchmarks.values() for n in b.images}
    images = {
        n: load(kind_dir(rooms, "images") / f"{n}.yaml", ImageCollection) for n in sorted(named)
    }
    published: dict[str, Mapping[str, Published]] = {
        "sources": sources,
        "images": images,
        "benchmarks": benchmarks,
    }
    for name in sorted({*sources, *images, *benchmarks}):
        _check_files(rooms, name, published)
    return Recipe(
        mixture=mixture, sources=sources, images=images, benchmarks=benchmarks, rooms=rooms
    )


def _check_files(rooms: Path, name: str, published: Mapping[str, Mapping[str, Published]]) -> None:
    """Raise UserError where manifests of one name, which share a folder, differ about a file."""
    known: dict[str, File] = {}
    for room, manifests in published.items():
        for number, file in enumerate(manifests[name].files if name in manifests else ()):
            if known.get(file.path) != file and (clash := clashing([*known, file.path])):
                path = kind_dir(rooms, room) / f"{name}.yaml"
                where = f"{spot_of(path, 'files', number)}, files.{number}"
                problem = f"{where}: another manifest of this name states it otherwise ({clash})"
                raise UserError(path, problem, "state the file alike in both, or in one")
            known[file.path] = file
