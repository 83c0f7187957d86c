"""Manifests of benchmarks: how their images are listed, named and found elsewhere."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from imp_data.manifests.base import StrictModel
from imp_data.manifests.benchmark_questions import BenchmarkQuestions
from imp_data.manifests.fields import Count, Name, RelativePath
from imp_data.manifests.sources import Publication, UpstreamFile

# The collections whose image ids occur in the file names of other datasets; see images.identity.
ImageIdKind = Literal["coco", "gqa_test", "openimages", "visual_genome", "vizwiz"]


def _is_empty(value: object) -> bool:
    return not value


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


class SameImages(StrictModel):
    """A file that states which images of two collections are the same photograph."""

    file: RelativePath = Field(description="JSON whose records name an image in both collections")
    ids: Annotated[dict[ImageIdKind, str], Field(min_length=2, max_length=2)] = Field(
        description="the field of a record that has the id of each collection"
    )


class Benchmark(Publication):
    """A benchmark whose images must be kept out of training.

    Its images are those that `id_files` list, or those in the rows of `records`, or all images of
    the collections in `images`; a `pack` has their ids and hashes alone.
    """

    id_files: tuple[RelativePath, ...] = Field(
        (),
        exclude_if=_is_empty,
        description='files that list the ids: JSON such as {"data": [{"image_id": …}]}, JSON Lines '
        "or, in a .txt file, one id in each line",
    )
    # Left out of the digest of manifests that do not state them, like the fields below.
    id_key: str = Field(
        "data",
        exclude_if=lambda key: key == "data",
        description="name of the array in an `id_files` file that is an object",
    )
    id_field: str = Field(
        "image_id",
        exclude_if=lambda field: field == "image_id",
        description="field of a record of `id_files` that has the id",
    )
    id_pattern: Annotated[str, AfterValidator(_check_regex)] | None = Field(
        None,
        exclude_if=lambda pattern: pattern is None,
        description="regular expression that finds candidate ids in a file name",
    )
    image_ids: ImageIdKind | None = Field(
        None,
        exclude_if=lambda kind: kind is None,
        description="collection that the ids belong to; its ids are recognized in all spellings",
    )
    same_images: tuple[SameImages, ...] = Field(
        (),
        exclude_if=_is_empty,
        description="files that state ids of the same images in another collection",
    )
    records: tuple[RelativePath, ...] = Field(
        (),
        exclude_if=_is_empty,
        description="Parquet files, or globs of them, whose rows contain the images",
    )
    columns: dict[Literal["id", "image"], str] = Field(
        {},
        exclude_if=_is_empty,
        description="columns of `records`: `id`, by default none, whose equal values mean one "
        "image; `image`, by default every column of images",
    )
    images: tuple[Name, ...] = Field(
        (), exclude_if=_is_empty, description="collections that contain its images"
    )
    image_paths: tuple[Annotated[RelativePath, AfterValidator(_check_template)], ...] = Field(
        (),
        exclude_if=_is_empty,
        description="paths of an image of `id_files`, with {id} for its id as the collection "
        "`image_ids` spells it",
    )
    pack: RelativePath | None = Field(
        None,
        exclude_if=lambda path: path is None,
        description="file of `imp-data pack` that has its ids and hashes, in place of its images",
    )
    questions: BenchmarkQuestions | None = Field(
        None,
        exclude_if=lambda questions: questions is None,
        description="its questions; without them, images alone are compared",
    )
    expect_ids: Count | None = Field(None, description="expected number of distinct ids")

    @model_validator(mode="after")
    def _check_files(self) -> "Benchmark":
        stated = {file.path for file in self.files}
        for field, named in {
            "id_files": self.id_files,
            "same_images": tuple(same.file for same in self.same_images),
            "pack": () if self.pack is None else (self.pack,),
            "questions.files": () if self.questions is None else self.questions.files,
        }.items():
            if unknown := sorted(path for path in named if not _is_stated(path, self.files)):
                raise ValueError(f"{field}: {', '.join(unknown)} is not among `files`")
        if self.records and not stated:
            raise ValueError("records: `files` names none of these files")
        return self

    @model_validator(mode="after")
    def _check_images(self) -> "Benchmark":
        if not (self.id_files or self.records or self.images or self.pack):
            raise ValueError(
                "names no image: state `id_files`, `records`, `images` or `pack`, the place of its "
                "images or of their hashes"
            )
        if self.records and self.id_files:
            raise ValueError("records: `id_files` lists the images already; keep one of the two")
        if self.id_files and bool(self.images) != bool(self.image_paths):
            missing = "images" if self.image_paths else "image_paths"
            raise ValueError(f"{missing}: `images` and `image_paths` belong together; state both")
        if self.image_paths and not self.id_files:
            raise ValueError("image_paths: only ids of `id_files` have such paths")
        if self.same_images and self.image_ids is None:
            raise ValueError("same_images: state `image_ids`, the collection of the benchmark")
        return self


def _is_stated(path: str, files: tuple[UpstreamFile, ...]) -> bool:
    """Return whether a file is published as such, or may be in an archive that is extracted."""
    return any(file.path == path or file.unpack for file in files)
