"""Manifests of upstream publications: sources, image collections, benchmarks, and their files."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from imp_data.manifests.base import StrictModel
from imp_data.manifests.benchmark_questions import BenchmarkQuestions
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
from imp_data.manifests.hub_address import (
    HubRepository,
    HubRevision,
    hub_file_of,
    parse_hub_url,
)
from imp_data.manifests.image_urls import ImageUrls
from imp_data.manifests.layout_names import ColumnRole, LayoutName

_WILD = frozenset("*?")


def _is_empty(value: object) -> bool:
    return not value


def find_path_clash(paths: Iterable[str]) -> str:
    """Return which two paths cannot coexist on a case-insensitive disk; "" if all can."""
    known: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: path.count("/")):
        steps = path.casefold().split("/")
        for count in range(1, len(steps) + 1):
            if other := known.get("/".join(steps[:count])):
                return (
                    f"{path} and {other} are the same path"
                    if count == len(steps)
                    else (f"{path} lies below {other}, which is a file")
                )
        known["/".join(steps)] = path
    return ""


class UpstreamFile(StrictModel):
    """One file as upstream publishes it."""

    path: RelativePath = Field(
        description="below data/raw/<name>/; with `hub`, the file's path in the repository, or a "
        "glob of several"
    )
    url: str | None = Field(None, description="address to download from, with a pinned revision")
    bytes: Count | None = None
    sha256: Sha256 | None = None
    # The limit does not change the content of the file, so no digest of the manifest includes it.
    max_bytes: Positive = Field(
        64 << 30, exclude=True, description="download limit if `bytes` is not stated"
    )
    by_hand: str | None = Field(
        None, description="how to download it manually if no address serves it"
    )
    unpack: tuple[MemberGlob, ...] = Field(
        (), description="globs of members of this zip or tar to extract beside it"
    )

    @property
    def is_glob(self) -> bool:
        """Whether `path` is a glob of files on the Hub; the lock file holds their list."""
        if not _WILD & set(self.path) or self.url is None:
            return False
        hub = parse_hub_url(self.url)
        return hub is not None and hub.path == self.path


def _is_none(value: object) -> bool:
    return value is None


class Publication(StrictModel):
    """Base of the manifests of upstream publications: name, origin, licence, files."""

    name: Name
    title: str
    homepage: str
    license: str = Field(description="SPDX name, or upstream's own term")
    license_note: str | None = None
    unverified: tuple[str, ...] = Field((), description="statements here that no source confirms")
    # Left out of the digest if not stated, so that digests of other manifests stay the same.
    hub: HubRepository | None = Field(
        None,
        exclude_if=_is_none,
        description="dataset of the Hugging Face Hub, OWNER/NAME (a model: models/OWNER/NAME); "
        "it has the files with neither `url` nor `by_hand`",
    )
    revision: HubRevision | None = Field(
        None, exclude_if=_is_none, description="commit of `hub`, 40 hexadecimal digits"
    )
    files: tuple[UpstreamFile, ...] = ()

    @model_validator(mode="after")
    def _check_paths(self) -> "Publication":
        paths = [file.path for file in self.files]
        if clash := find_path_clash(paths):
            raise ValueError(f"files: {clash}; give each file a distinct path")
        return self

    @model_validator(mode="after")
    def _complete_urls(self) -> "Publication":
        """Give each file of the Hub its `url`; a glob's `url` contains the glob."""
        if (self.hub is None) != (self.revision is None):
            missing = "hub" if self.hub is None else "revision"
            raise ValueError(f"{missing}: `hub` and `revision` belong together; state both")
        # The model is frozen for its users only.
        object.__setattr__(self, "files", tuple(map(self._with_url, self.files)))
        return self

    def _with_url(self, file: UpstreamFile) -> UpstreamFile:
        if file.url is None and file.by_hand is None:
            if self.hub is None or self.revision is None:
                raise ValueError(
                    f"{file.path}: give `url`, or describe the download in `by_hand`; for a file "
                    "of the Hugging Face Hub, state `hub` and `revision`"
                )
            url = hub_file_of(self.hub, self.revision, file.path).url()
            file = file.model_copy(update={"url": url})
        if file.is_glob and (file.bytes, file.sha256) != (None, None):
            raise ValueError(
                f"{file.path}: a glob has neither `bytes` nor `sha256`; leave them out"
            )
        return file

    def is_optional(self, file: UpstreamFile) -> bool:
        """Return whether a build can do without a file that is not there."""
        return False


class ImageFolder(StrictModel):
    """The location of images whose paths begin with `path`."""

    path: RelativePath = Field(description="beginning of a Sample's image path")
    file: RelativePath | None = Field(
        None, description="zip or plain tar in data/raw/<name>/; left out for loose files"
    )
    inside: RelativeFolder = Field(
        "", description="the folder in that archive, or below data/raw/<name>/"
    )


class ImageCollection(Publication):
    """A collection of images that one or several sources use."""

    folders: Annotated[tuple[ImageFolder, ...], Field(min_length=1)]
    # A mixture states the sha256 of each image, wherever it came from, so no digest of the
    # manifest includes this.
    urls: ImageUrls | None = Field(
        None, exclude=True, description="URLs of the images, if upstream publishes no archive"
    )

    @model_validator(mode="after")
    def _check_urls(self) -> "ImageCollection":
        unless = self.urls and self.urls.unless
        if unless and unless not in {file.path for file in self.files}:
            raise ValueError(f"urls.unless: {unless} is not among `files`")
        return self

    @property
    def all_folders(self) -> tuple[ImageFolder, ...]:
        """The folders, and the one of the images that are downloaded by URL."""
        if self.urls is None:
            return self.folders
        downloaded = ImageFolder(path=self.folders[0].path, inside=self.urls.folder)
        return tuple(dict.fromkeys((*self.folders, downloaded)))

    def is_optional(self, file: UpstreamFile) -> bool:
        return self.urls is not None and self.urls.unless == file.path


SubsetRule = Literal["mix665k", "allava", "image_family", "file", "none"]


class ExpectedCounts(StrictModel):
    """Expected counts of the pinned revision; a blocking check compares them."""

    rows: Count | None = Field(None, description="upstream rows")
    subsets: dict[str, Count] = Field({}, description="Samples per subset, before screening")


class Source(Publication):
    """One upstream dataset of instructions."""

    layout: LayoutName
    records: Annotated[tuple[RelativePath, ...], Field(min_length=1)] = Field(
        description="files of records, in order; or globs, whose matches are sorted"
    )
    subsets: SubsetRule = Field("none", description="rule that assigns records to subsets")
    image_prefix: PathPrefix = Field("", description="prefix of each upstream image path")
    images: tuple[Name, ...] = Field((), description="collections that contain its images")
    prompts: tuple[str, ...] = Field((), description="questions to choose from for bare captions")
    # Left out of the digest of manifests that do not state it: their records stay as they are.
    max_images: Positive = Field(
        1,
        exclude_if=lambda count: count == 1,
        description="images of one record; above 1 its records have lists of images",
    )
    ignore_fields: tuple[str, ...] = Field(
        (),
        description="fields of a record that are irrelevant to training, beyond those that the "
        "layout knows; for a turn: conversations.<field>",
    )
    # Manifests that leave these out have the digests that they had before the fields existed.
    columns: dict[ColumnRole, str] = Field(
        {}, exclude_if=_is_empty, description="columns of a form that have other names"
    )
    min_ratings: dict[str, int] = Field(
        {},
        exclude_if=_is_empty,
        description="lowest rating of a turn that is kept, for each kind of rating; a turn without "
        "one is kept",
    )
    suffix: Literal["", "short_answer", "option_letter"] = Field(
        "", exclude_if=_is_empty, description="LLaVA's wording to add to each first question"
    )
    wording: Literal["", "llava"] = Field(
        "",
        exclude_if=_is_empty,
        description="`llava` replaces the wordings of known publishers by LLaVA's, with some loss",
    )
    held_out: RelativePath | None = Field(None, description="file that lists upstream's test ids")
    expect: ExpectedCounts = ExpectedCounts()

    @model_validator(mode="after")
    def _check_prompts(self) -> "Source":
        if self.layout == "laion_gpt4v" and not self.prompts:
            raise ValueError("prompts: a layout of bare captions requires at least one question")
        return self


def _check_regex(text: str) -> str:
    try:
        groups = re.compile(text).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is not a regular expression ({error})") from None
    if groups > 1:
        raise ValueError("has several groups; one at most captures the id: write (?:…)")
    return text


def _check_template(path: str) -> str:
    if "{id}" not in path or set("{}") & set(path.replace("{id}", "")):
        raise ValueError(f"{path!r} must have {{id}} where the id goes, and no other braces")
    return path


class Benchmark(Publication):
    """A benchmark whose images must be kept out of training."""

    id_files: tuple[RelativePath, ...] = Field(
        description='files that list the ids, as {"data": [{"image_id": …}]}'
    )
    id_pattern: Annotated[str, AfterValidator(_check_regex)] = Field(
        description="regular expression that finds candidate ids in a file name"
    )
    images: tuple[Name, ...] = Field(description="collections that contain its images")
    image_paths: Annotated[
        tuple[Annotated[RelativePath, AfterValidator(_check_template)], ...], Field(min_length=1)
    ] = Field(description="paths of an image, with {id} for its id")
    expect_ids: Count | None = None
    # Left out of the digest if not stated, so that digests of other manifests stay the same.
    questions: BenchmarkQuestions | None = Field(
        None,
        exclude_if=_is_none,
        description="its questions; without them, images alone are compared",
    )

    @model_validator(mode="after")
    def _check_id_files(self) -> "Benchmark":
        named = {"id_files": self.id_files}
        if self.questions is not None:
            named["questions.files"] = self.questions.files
        for field, names in named.items():
            if unknown := sorted(set(names) - {file.path for file in self.files}):
                raise ValueError(f"{field}: {', '.join(unknown)} is not among `files`")
        return self
