"""What a manifest may say: sources, collections of pictures, benchmarks, mixtures."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from imp_data.errors import UserError
from imp_data.store import text_digest

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="as in asset keys and files")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


def _stays_below(path: str) -> str:
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{path!r} must be a relative path without ..")
    return path


RelativePath = Annotated[
    str,
    AfterValidator(_stays_below),
    Field(json_schema_extra={"pattern": r"^(?!/)(?!.*(^|/)\.\.(/|$)).+$"}),
]


class Strict(BaseModel):
    """A word that no field knows is an error; a manifest never changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class File(Strict):
    """One file as upstream publishes it."""

    path: RelativePath = Field(description="below data/raw/<name>/")
    url: str | None = Field(None, description="where it is fetched from, with a pinned revision")
    bytes: Count | None = None
    sha256: Sha256 | None = None
    by_hand: str | None = Field(None, description="how a person gets it where no address serves it")
    unpack: tuple[str, ...] = Field(
        (), description="members of this zip or tar to lay beside it, as globs; others stay inside"
    )

    @model_validator(mode="after")
    def _obtainable(self) -> "File":
        if self.url is None and self.by_hand is None:
            raise ValueError(f"{self.path}: give `url`, or say in `by_hand` how a person gets it")
        return self


class Published(Strict):
    """What every upstream publication has: a name, its origin, its licence, its files."""

    name: Name
    title: str
    homepage: str
    license: str = Field(description="SPDX name, or upstream's own word")
    license_note: str | None = None
    unverified: tuple[str, ...] = Field((), description="statements here that no source confirms")
    files: tuple[File, ...] = ()


class Folder(Strict):
    """Where pictures are whose paths begin with `path`."""

    path: RelativePath = Field(description="what a Sample's image path begins with")
    file: RelativePath | None = Field(
        None, description="zip or plain tar in data/raw/<name>/; none where files are unpacked"
    )
    inside: str = Field("", description="the folder in that archive, or below data/raw/<name>/")


class Pictures(Published):
    """A collection of pictures that one or several sources draw upon."""

    folders: Annotated[tuple[Folder, ...], Field(min_length=1)]


LayoutName = Literal["llava", "dvqa", "chartqa", "docvqa", "infographicvqa", "ai2d", "laion_gpt4v"]
SubsetRule = Literal["mix665k", "allava", "image_family", "file", "none"]


class Expect(Strict):
    """Counts that the pinned revision has; a blocking check compares them."""

    rows: Count | None = Field(None, description="upstream rows read")
    subsets: dict[str, Count] = Field({}, description="Samples of each subset, before screening")


class Source(Published):
    """One upstream dataset of instructions."""

    layout: LayoutName
    records: Annotated[tuple[RelativePath, ...], Field(min_length=1)] = Field(
        description="files that hold the records, in order; or globs of them, sorted"
    )
    subsets: SubsetRule = Field("none", description="how the finer origin of a record is told")
    image_prefix: str = Field("", description="put before each picture path of upstream")
    pictures: tuple[Name, ...] = Field((), description="collections its pictures are in")
    prompts: tuple[str, ...] = Field((), description="questions to choose from for bare captions")
    held_out: RelativePath | None = Field(None, description="file that lists upstream's test ids")
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _captions_have_prompts(self) -> "Source":
        if self.layout == "laion_gpt4v" and not self.prompts:
            raise ValueError("prompts: a layout of bare captions needs at least one question")
        return self


class Benchmark(Published):
    """A benchmark whose pictures must not be trained on."""

    id_files: tuple[RelativePath, ...] = Field(
        description='files whose {"data": [{"image_id": …}]} list the ids'
    )
    id_pattern: str = Field(description="regular expression that finds candidates in a file name")
    pictures: tuple[Name, ...] = Field(description="collections that hold its pictures")
    picture_paths: tuple[str, ...] = Field(description="where a picture is, with {id} in its place")
    expect_ids: Count | None = None

    @model_validator(mode="after")
    def _lists_are_published(self) -> "Benchmark":
        if strangers := sorted(set(self.id_files) - {file.path for file in self.files}):
            raise ValueError(f"id_files: {', '.join(strangers)} is not among `files`")
        return self


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

Model = TypeVar("Model", bound=Strict)


def load(path: Path, model: type[Model]) -> Model:
    """Read one YAML manifest. Raises UserError naming file, field, and what may stand there."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(path, "there is no such manifest", _neighbours(path)) from None
    except UnicodeDecodeError as error:
        raise UserError(path, f"is not UTF-8: {error}", "save it as UTF-8") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(path, f"is not YAML: {error}", "mend the line it names") from None
    try:
        # By way of JSON, because only there can a strict model read a list as a tuple; and strict,
        # because `quota: yes` is no number, as the JSON Schema says too.
        manifest = model.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        raise UserError(path, _problems(error, text), "mend the fields it names") from None
    name = getattr(manifest, "name", None)
    if name is not None and name != path.stem.replace("-", "_"):
        raise UserError(path, f"its name is {name}", f"call the file {name}.yaml or mend `name`")
    return manifest


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


def model_digest(*models: BaseModel) -> str:
    """Digest of what manifests, or parts of them, say; comments and order of fields apart."""
    return text_digest(*(model.model_dump_json() for model in models))


def _neighbours(path: Path) -> str:
    there = sorted(p.stem for p in path.parent.glob("*.yaml"))
    return f"write it, or name one of {', '.join(there) or '(none there)'}"


def _problems(error: ValidationError, text: str) -> str:
    """`line 7, files.0.bytes: Input should be …` for each; a field left out: its parent's line."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)

    def place(location: tuple[Any, ...]) -> str:
        name = ".".join(str(step) for step in location) or "(whole file)"
        return f"line {_line(root, location)}, {name}" if root else name

    return "; ".join(f"{place(e['loc'])}: {e['msg']}" for e in error.errors())


def _line(node: yaml.Node, location: tuple[Any, ...]) -> int:
    """The line of the field at `location`, or of the innermost one there that is written."""
    line = node.start_mark.line + 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == step]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            found = [(value, value) for value in node.value[step : step + 1]]
        else:
            found = []
        if not found:
            break
        line, node = found[-1][0].start_mark.line + 1, found[-1][1]
    return line
