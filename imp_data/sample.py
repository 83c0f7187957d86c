"""Define the Sample, its id and Arrow schema, and the drafts that become Samples."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import xxhash
from pydantic import BaseModel, ConfigDict, Field, model_validator

from imp_data.ledger import AppliedRepair, Verdict

IMAGE_TOKEN = "<image>"

# haotian-liu/LLaVA, docs/Evaluation.md: the evaluation prompts use the same wording.
SHORT_ANSWER_SUFFIX = "\nAnswer the question using a single word or phrase."
OPTION_LETTER_SUFFIX = "\nAnswer with the option's letter from the given choices directly."

# Excludes white space and control characters; Unicode's Default_Ignorable_Code_Point (joiners,
# direction marks, byte order mark, Hangul fillers, variation selectors, tags); annotation and
# hieroglyph format characters; the blank Braille pattern; U+FFFD, the replacement character.
_VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffd"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

# `~2` marks the second of several exact repeats upstream, `+2` the second copy of one Sample.
_ID = r"^[a-z][a-z0-9_]*/[0-9a-f]{16}(~[1-9][0-9]*)?(\+[1-9][0-9]*)?$"

TURN_TYPE = pa.struct([pa.field("from", pa.string()), pa.field("value", pa.string())])

# Schema of the records stage; the mixture adds the image's digest and size, and the licence.
RECORD_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("subset", pa.string()),
        pa.field("image", pa.string()),
        pa.field("conversations", pa.list_(TURN_TYPE)),
        pa.field("upstream_id", pa.string()),
    ]
)
SAMPLE_SCHEMA = pa.schema(
    [
        *RECORD_SCHEMA,
        pa.field("image_sha256", pa.string()),
        pa.field("image_width", pa.int32()),
        pa.field("image_height", pa.int32()),
        pa.field("license", pa.string()),
    ]
)

# The fields of one image, and the name of each in the schema with a list of images.
_IMAGE_FIELDS = {
    "image": "images",
    **{name: name for name in ("image_sha256", "image_width", "image_height")},
}


def _with_lists(schema: pa.Schema) -> pa.Schema:
    return pa.schema(
        pa.field(_IMAGE_FIELDS[field.name], pa.list_(field.type))
        if field.name in _IMAGE_FIELDS
        else field
        for field in schema
    )


# The same with lists of images, where a Sample may have several. A column of single images is the
# form that the Hub's viewer, mlcroissant and most trainers read, so one image at most stays that.
MULTI_IMAGE_RECORD_SCHEMA = _with_lists(RECORD_SCHEMA)
MULTI_IMAGE_SAMPLE_SCHEMA = _with_lists(SAMPLE_SCHEMA)


def record_schema(max_images: int) -> pa.Schema:
    """Return the schema of the records stage of a source with up to so many images a record."""
    return RECORD_SCHEMA if max_images == 1 else MULTI_IMAGE_RECORD_SCHEMA


def sample_schema(max_images: int) -> pa.Schema:
    """Return the schema of a mixture whose sources have up to so many images a record."""
    return SAMPLE_SCHEMA if max_images == 1 else MULTI_IMAGE_SAMPLE_SCHEMA


class Turn(BaseModel):
    """One message of a conversation, in LLaVA's form."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    speaker: Literal["human", "gpt", "system", "tool"] = Field(alias="from")
    value: Annotated[str, Field(min_length=1)]


def _describe_both_forms(schema: dict[str, Any]) -> None:
    """Make the JSON Schema of Sample accept a row with `image` as well as one with `images`."""
    lists = {key: schema.pop(key) for key in ("properties", "required", "additionalProperties")}
    single: dict[str, Any] = {}
    for name, stated in lists["properties"].items():
        if name in _IMAGE_FIELDS.values():
            several = next((one for one in stated.get("anyOf", ()) if "items" in one), stated)
            name = "image" if name == "images" else name
            stated = {"anyOf": [several["items"], {"type": "null"}]}
        single[name] = stated
    required = ["image" if name == "images" else name for name in lists["required"]]
    schema["anyOf"] = [{**lists, "properties": single, "required": required}, lists]


class Sample(BaseModel):
    """One row of a mixture, with a list of images or with one image at most.

    `images` are paths below the image root, none for text only; digest, width and height are
    those of each image, or null where images were deferred. A row with the column `image` has one
    image or null, and is read as the list of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_describe_both_forms)

    id: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9_]*/[0-9a-f]{16}(~[1-9][0-9]*)?(\+[1-9][0-9]*)?$")
    ]
    source: str
    subset: str
    images: tuple[str, ...]
    conversations: Annotated[tuple[Turn, ...], Field(min_length=2)]
    upstream_id: str
    image_sha256: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] | None
    image_width: tuple[Annotated[int, Field(gt=0)], ...] | None
    image_height: tuple[Annotated[int, Field(gt=0)], ...] | None
    license: str

    @model_validator(mode="before")
    @classmethod
    def _read_single_image(cls, row: Any) -> Any:
        """Turn the fields of a row with `image` into lists."""
        if not isinstance(row, dict) or "image" not in row or "images" in row:
            return row
        facts = {several: row[name] for name, several in _IMAGE_FIELDS.items() if name in row}
        lists = {name: None if value is None else (value,) for name, value in facts.items()}
        rest = {name: value for name, value in row.items() if name != "image"}
        return {**rest, **lists, "images": lists["images"] or ()}

    @model_validator(mode="after")
    def _count_facts(self) -> "Sample":
        for name in _IMAGE_FIELDS.values():
            facts = getattr(self, name)
            if facts is not None and len(facts) != len(self.images):
                raise ValueError(f"{name} has {len(facts)} entries for {len(self.images)} images")
        return self


def has_visible_text(text: str) -> bool:
    """Return whether a text contains a visible character."""
    return _VISIBLE.search(text) is not None


def content_hash(
    source: str, upstream_id: str, images: Sequence[str], turns: Sequence[tuple[str, str]]
) -> int:
    """Return the 64-bit xxh3 of a record's content; equal for exact repeats only.

    The text that is hashed has null, one path, or a list of paths: a record with one image has
    the same hash in a source with one image at most and in one with several.
    """
    what = images if len(images) > 1 else images[0] if images else None
    return xxhash.xxh3_64_intdigest(orjson.dumps((source, upstream_id, what, turns)))


def sample_id(source: str, content: int, occurrence: int = 1) -> str:
    """Return `<source>/<16 hex>`; the second and later exact repeats end in `~2`, `~3`…"""
    repeat = "" if occurrence == 1 else f"~{occurrence}"
    return f"{source}/{content:016x}{repeat}"


def copy_id(sample: str, number: int) -> str:
    """Return the id of a Sample's copy: the id itself for the first, then `<id>+2`, `<id>+3`…"""
    return sample if number == 1 else f"{sample}+{number}"


def original_id(sample: str) -> str:
    """Return the id of the Sample whose copy an id names; the id itself if it names no copy."""
    return sample.split("+")[0]


def sample_problem(row: dict[str, Any]) -> str | None:
    """Return why a row's id does not match its content, or None.

    Raises ValidationError if the row is not a Sample.
    """
    sample = Sample.model_validate(row)
    turns = [(turn.speaker, turn.value) for turn in sample.conversations]
    content = content_hash(sample.source, sample.upstream_id, sample.images, turns)
    expected = sample_id(sample.source, content)
    if original_id(sample.id).split("~")[0] != expected:
        return f"id {sample.id} does not belong to this content, whose id is {expected}"
    return None


def image_column(names: Sequence[str]) -> str:
    """Return which of these columns has the images of Samples: `image` or `images`."""
    return "images" if "images" in names else "image"


def image_lists(column: pa.Array) -> pa.ListArray:
    """Return a column `image` or `images` as lists of paths, one for each Sample."""
    if pa.types.is_list(column.type):
        return column
    counts = column.is_valid().to_numpy(zero_copy_only=False)
    bounds = np.cumsum([0, *counts], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(bounds), column.drop_null())


def images_of(row: dict[str, Any]) -> list[str]:
    """Return the images of a Sample's row of either form."""
    if "images" in row:
        return list(row["images"])
    return [] if row["image"] is None else [row["image"]]


@dataclass(slots=True)
class UpstreamRecord:
    """One upstream record before validation: its position, its id and its content."""

    ordinal: int
    value: Any
    upstream_id: str | None = None
    repairs: list[AppliedRepair] = field(default_factory=list)
    raw: bytes = b""
    file: str = ""
    ignored_fields: tuple[str, ...] = ()  # fields without meaning for training, not read
    rejection: Verdict | None = None  # set if the record must not be read
    upstream_number: int = 0  # position upstream, counting rows that cannot be read


@dataclass(slots=True)
class Draft:
    """A Sample before the rules, made of one upstream record or of several on one image."""

    rows: list[UpstreamRecord]
    upstream_id: str
    subset: str
    images: tuple[str, ...]
    turns: list[tuple[str, str]]
    repairs: list[AppliedRepair] = field(default_factory=list)


class EmbeddedImage(NamedTuple):
    """An image whose bytes stand in a file of records; `member` names it below data/raw/<source>/.

    It is below data/raw/<collection>/ if there is one. See storage.embedded_names.
    """

    member: str
    collection: str = ""


class RejectedRecord(NamedTuple):
    """An upstream record that goes into no Sample, and the reason."""

    row: UpstreamRecord
    verdict: Verdict
