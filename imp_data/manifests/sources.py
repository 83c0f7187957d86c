"""What others publish: files, collections of images, sources, benchmarks."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from imp_data.manifests.base import Strict
from imp_data.manifests.fields import (
    Count,
    MemberGlob,
    Name,
    PathPrefix,
    Positive,
    RelativeFolder,
    RelativePath,
    Sha256,
)


def clashing(paths: Iterable[str]) -> str:
    """Which of these paths cannot both be files of one folder, on a disk that knows no case."""
    known: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: path.count("/")):
        steps = path.casefold().split("/")
        for count in range(1, len(steps) + 1):
            if other := known.get("/".join(steps[:count])):
                return (
                    f"{path} and {other} are one place"
                    if count == len(steps)
                    else (f"{path} lies below {other}, which is a file")
                )
        known["/".join(steps)] = path
    return ""


class File(Strict):
    """One file as upstream publishes it."""

    path: RelativePath = Field(description="below data/raw/<name>/")
    url: str | None = Field(None, description="where it is fetched from, with a pinned revision")
    bytes: Count | None = None
    sha256: Sha256 | None = None
    # No digest of the manifest has it: it says how a file is fetched, not what is in it.
    max_bytes: Positive = Field(
        64 << 30, exclude=True, description="most that is fetched where `bytes` is not stated"
    )
    by_hand: str | None = Field(None, description="how a person gets it where no address serves it")
    unpack: tuple[MemberGlob, ...] = Field(
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

    @model_validator(mode="after")
    def _files_are_apart(self) -> "Published":
        paths = [file.path for file in self.files]
        if clash := clashing(paths):
            raise ValueError(f"files: {clash}; give each file a path of its own")
        return self


class Folder(Strict):
    """Where images are whose paths begin with `path`."""

    path: RelativePath = Field(description="what a Sample's image path begins with")
    file: RelativePath | None = Field(
        None, description="zip or plain tar in data/raw/<name>/; none where files are unpacked"
    )
    inside: RelativeFolder = Field(
        "", description="the folder in that archive, or below data/raw/<name>/"
    )


class ImageCollection(Published):
    """A collection of images that one or several sources draw upon."""

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
    image_prefix: PathPrefix = Field("", description="put before each image path of upstream")
    images: tuple[Name, ...] = Field((), description="collections its images are in")
    prompts: tuple[str, ...] = Field((), description="questions to choose from for bare captions")
    ignore_fields: tuple[str, ...] = Field(
        (),
        description="fields of a record that carry no meaning for training, beyond those that the "
        "layout knows; of a turn: conversations.<field>",
    )
    held_out: RelativePath | None = Field(None, description="file that lists upstream's test ids")
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _captions_have_prompts(self) -> "Source":
        if self.layout == "laion_gpt4v" and not self.prompts:
            raise ValueError("prompts: a layout of bare captions needs at least one question")
        return self


def _expression(text: str) -> str:
    try:
        groups = re.compile(text).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression ({error})") from None
    if groups > 1:
        raise ValueError("has several groups; one at most, which is then the id: write (?:…)")
    return text


def _template(path: str) -> str:
    if "{id}" not in path or set("{}") & set(path.replace("{id}", "")):
        raise ValueError(f"{path!r} must have {{id}} where the id goes, and no other braces")
    return path


class Benchmark(Published):
    """A benchmark whose images must not be trained on."""

    id_files: tuple[RelativePath, ...] = Field(
        description='files whose {"data": [{"image_id": …}]} list the ids'
    )
    id_pattern: Annotated[str, AfterValidator(_expression)] = Field(
        description="regular expression that finds candidates in a file name"
    )
    images: tuple[Name, ...] = Field(description="collections that hold its images")
    image_paths: Annotated[
        tuple[Annotated[RelativePath, AfterValidator(_template)], ...], Field(min_length=1)
    ] = Field(description="where an image is, with {id} in its place")
    expect_ids: Count | None = None

    @model_validator(mode="after")
    def _lists_are_published(self) -> "Benchmark":
        if strangers := sorted(set(self.id_files) - {file.path for file in self.files}):
            raise ValueError(f"id_files: {', '.join(strangers)} is not among `files`")
        return self
