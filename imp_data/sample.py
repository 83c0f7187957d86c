"""Define the Sample, its id and Arrow schema, and the drafts that become Samples."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

import orjson
import pyarrow as pa
import xxhash
from pydantic import BaseModel, ConfigDict, Field

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


class Turn(BaseModel):
    """One message of a conversation, in LLaVA's form."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    speaker: Literal["human", "gpt"] = Field(alias="from")
    value: Annotated[str, Field(min_length=1)]


class Sample(BaseModel):
    """One row of a mixture. `image` is a path below the image root, null for text only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9_]*/[0-9a-f]{16}(~[1-9][0-9]*)?(\+[1-9][0-9]*)?$")
    ]
    source: str
    subset: str
    image: str | None
    conversations: Annotated[tuple[Turn, ...], Field(min_length=2)]
    upstream_id: str
    image_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    image_width: Annotated[int, Field(gt=0)] | None
    image_height: Annotated[int, Field(gt=0)] | None
    license: str


def has_visible_text(text: str) -> bool:
    """Return whether a text contains a visible character."""
    return _VISIBLE.search(text) is not None


def content_hash(
    source: str, upstream_id: str, image: str | None, turns: Sequence[tuple[str, str]]
) -> int:
    """Return the 64-bit xxh3 of a record's content; equal for exact repeats only."""
    return xxhash.xxh3_64_intdigest(orjson.dumps((source, upstream_id, image, turns)))


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
    content = content_hash(sample.source, sample.upstream_id, sample.image, turns)
    expected = sample_id(sample.source, content)
    if original_id(sample.id).split("~")[0] != expected:
        return f"id {sample.id} does not belong to this content, whose id is {expected}"
    return None


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
    image: str | None
    turns: list[tuple[str, str]]
    repairs: list[AppliedRepair] = field(default_factory=list)


class RejectedRecord(NamedTuple):
    """An upstream record that goes into no Sample, and the reason."""

    row: UpstreamRecord
    verdict: Verdict
