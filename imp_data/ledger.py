"""Define the ledger: the outcome of each upstream record, its stage, reason and evidence."""

from enum import StrEnum
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field


class Outcome(StrEnum):
    """The three possible outcomes of a record."""

    KEPT = "kept"
    HELD = "held"
    DROPPED = "dropped"


class Stage(StrEnum):
    """The stage that decided a record's outcome."""

    RECORDS = "records"
    SCREENED = "screened"
    MIXTURE = "mixture"


class Reason(StrEnum):
    """Why a record was dropped or held; `.sentence` explains it in English."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> "Reason":
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.sentence = sentence
        return reason

    NOT_UTF8 = "not_utf8", "The record's bytes are not UTF-8."
    NOT_JSON = "not_json", "The record is not JSON."
    TRUNCATED = "truncated", "The record ends in the middle."
    TOO_DEEP = "too_deep", "The record's JSON is nested too deeply to be read safely."
    RECORD_TOO_LARGE = (
        "record_too_large",
        "The record, or all on its image together, is larger than the mixture's limit.",
    )
    READER_FAILED = (
        "reader_failed",
        "The record crashes its reader, or keeps it busy beyond the mixture's limit.",
    )
    ROWS_LOST = "rows_lost", "Rows of a Parquet file cannot be read; the evidence counts them."
    WRONG_TYPE = "wrong_type", "The record or a field of it lacks the form the layout has."
    UNREAD_FIELD = "unread_field", "The record has a field that its layout does not read."
    NO_TURNS = "no_turns", "The record has no conversation."
    WRONG_ROLES = "wrong_roles", "Human and gpt do not alternate."
    SYSTEM_TURN = "system_turn", "The record has a system turn, which the mixture does not keep."
    TOOL_TURN = "tool_turn", "The record has a turn by a tool, which the mixture does not keep."
    UNANSWERED = "unanswered", "The last question has no answer."
    EMPTY_VALUE = "empty_value", "A question or an answer is empty."
    TOKEN_WITHOUT_IMAGE = "token_without_image", "A record without an image says <image>."
    TOKEN_MISSING = "token_missing", "A record with an image never says <image>."
    TOKEN_REPEATED = "token_repeated", "<image> stands in more than one turn."
    TOKEN_IN_ANSWER = "token_in_answer", "<image> stands in an answer."
    BOX_OUT_OF_RANGE = "box_out_of_range", "A box leaves [0,1] or its corners are not in order."
    LONE_SURROGATE = "lone_surrogate", "The text holds half a surrogate pair: a character is lost."
    TOO_MANY_IMAGES = (
        "too_many_images",
        "The record has more images than the manifest of its source allows.",
    )
    TOKEN_COUNT = (
        "token_count",
        "The questions of a record with several images do not say <image> once for each of them.",
    )
    TOO_LONG = "too_long", "The conversation is longer than the mixture's limit."
    BAD_IMAGE_PATH = "bad_image_path", "The image's path is empty, absolute or climbs out."
    BAD_OPTIONS = "bad_options", "The options and the correct one do not go together."
    LOW_RATING = "low_rating", "No turn of the record has the ratings that its source asks for."
    HELD_OUT_SPLIT = "held_out_split", "The record belongs to a test split upstream."
    EXCLUDED = "excluded", "The mixture's manifest excludes this kind of record."
    EXCLUDED_BY_ORIGIN = (
        "excluded_by_origin",
        "A rule of the mixture excludes the record's source, subset or licence.",
    )
    EXCLUDED_BY_LIST = "excluded_by_list", "A list of the mixture's excluded records names it."
    EXCLUDED_BY_TEXT = (
        "excluded_by_text",
        "A question or an answer matches an expression that the mixture excludes.",
    )
    EXCLUDED_BY_LENGTH = (
        "excluded_by_length",
        "The longest answer is shorter or longer than a rule of the mixture allows.",
    )
    EXCLUDED_BY_LANGUAGE = (
        "excluded_by_language",
        "The text is in a language that a rule of the mixture excludes.",
    )
    EXCLUDED_BY_SCORE = (
        "excluded_by_score",
        "The record's score is outside the limits of a rule of the mixture, or absent.",
    )
    EXCLUDED_BY_IMAGE = (
        "excluded_by_image",
        "The image's size or shape is outside the limits of a rule of the mixture.",
    )
    EXACT_REPEAT = "exact_repeat", "The same record stands earlier in the same source."
    BENCHMARK_ID = "benchmark_id", "The image's file name carries a benchmark image's id."
    BENCHMARK_BYTES = "benchmark_bytes", "The image is a benchmark image, byte for byte."
    BENCHMARK_HASH = "benchmark_hash", "The image looks like a benchmark image."
    BENCHMARK_QUESTION = "benchmark_question", "The record asks a question of a benchmark."
    BENCHMARK_ANSWER = (
        "benchmark_answer",
        "The record has a question of a benchmark with its answer, or a long answer of one.",
    )
    NEAR_DUPLICATE = "near_duplicate", "The image looks like one its source has kept before."
    DOWNLOAD_FAILED = "download_failed", "The image could not be downloaded."
    IMAGE_MISSING = "image_missing", "The image is not there."
    IMAGE_IS_URL = (
        "image_is_url",
        "The record names its image by a URL. `imp-data fetch-images`, or `urls` of an image "
        "collection, downloads a list of URLs; the record must then name the file.",
    )
    IMAGE_AMBIGUOUS = (
        "image_ambiguous",
        "No image has this path as it is spelled, and several have it in another spelling.",
    )
    IMAGE_EMPTY = "image_empty", "The image's file has no bytes."
    IMAGE_UNDECODABLE = "image_undecodable", "The image cannot be decoded."
    IMAGE_TRUNCATED = "image_truncated", "The image's file ends too early."
    IMAGE_TOO_SMALL = "image_too_small", "The image is smaller than the mixture's limit."
    IMAGE_TOO_LARGE = "image_too_large", "The image is larger than the mixture's limit."
    OVER_QUOTA = "over_quota", "The source's quota was full before this record's turn."


class Repair(StrEnum):
    """What was repaired in a kept record; the ledger holds the text before the repair."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> "Repair":
        repair = str.__new__(cls, value)
        repair._value_ = value
        repair.sentence = sentence
        return repair

    RAW_CONTROL = "raw_control", "A raw control character in a JSON string was read as if escaped."
    CONTROL_REMOVED = "control_removed", "Control characters were taken out of the text."
    LEADING_GPT_REMOVED = "leading_gpt_removed", "A first turn by gpt was removed."
    TOKEN_MOVED = "token_moved", "<image> was moved to the front of its turn."
    TOKEN_ADDED = "token_added", "<image> was placed before the first question, once per image."
    WORDING_REPLACED = (
        "wording_replaced",
        "The publisher's wording of a question was replaced by LLaVA's.",
    )
    ANSWER_TRIMMED = "answer_trimmed", "What its publisher added to a short answer was removed."
    NUMBER_TO_TEXT = "number_to_text", "An answer that was a number was read as text."
    ID_TO_TEXT = "id_to_text", "An id that was neither text nor an integer was written as text."
    ID_FROM_PLACE = "id_from_place", "An id that was null was replaced by the record's place."
    IMAGE_UNLISTED = "image_unlisted", "A list of one image was read as that image."
    EMPTY_IMAGE_REMOVED = "empty_image_removed", "An empty path, without <image>, was no image."
    IMAGE_PATH_NORMALISED = (
        "image_path_normalised",
        "The image's path was written in its normal form: a/b.jpg, not .\\a//b.jpg.",
    )
    IMAGE_RESPELLED = (
        "image_respelled",
        "The image was found under another spelling of its path; the evidence names it.",
    )


# The explanation of each reason and repair, by the word in the ledger.
SENTENCES: dict[str, str] = {kind.value: kind.sentence for kind in (*Reason, *Repair)}


class Verdict(NamedTuple):
    """A reason with its evidence (a small JSON object)."""

    reason: Reason
    evidence: dict[str, Any]


class AppliedRepair(NamedTuple):
    """A repair with the text before it."""

    repair: Repair
    before: str


REPAIR_TYPE = pa.struct([pa.field("repair", pa.string()), pa.field("before", pa.string())])

# Schema of the records stage: `outcome` is null while a record is undecided, and `sample` is the
# row of records/<source>.arrow that contains the record.
RECORDS_LEDGER_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("ordinal", pa.int64()),
        pa.field("upstream_id", pa.string()),
        pa.field("id", pa.string()),
        pa.field("outcome", pa.string()),
        pa.field("stage", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("evidence", pa.string()),
        pa.field("repairs", pa.list_(REPAIR_TYPE)),
        pa.field("sample", pa.int32()),
    ]
)
LEDGER_SCHEMA = pa.schema([f for f in RECORDS_LEDGER_SCHEMA if f.name != "sample"])


class RepairedField(BaseModel):
    """One repair in the ledger."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repair: Repair
    before: str


class LedgerRow(BaseModel):
    """One row of a mixture's ledger.parquet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    ordinal: int = Field(ge=0, description="position of the record upstream, from 0")
    upstream_id: str | None = Field(description="null if the record could not be read")
    id: str | None = Field(description="id of the Sample that contains it; null if none does")
    outcome: Outcome
    stage: Stage = Field(description="the stage that decided the outcome")
    reason: Reason | None = Field(description="null for a kept record")
    evidence: str | None = Field(description="a small JSON object")
    repairs: tuple[RepairedField, ...]


def evidence_json(evidence: dict[str, Any]) -> str:
    """Return evidence as compact JSON with sorted keys; escape text that is not UTF-8."""
    try:
        return orjson.dumps(evidence, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        import json

        return json.dumps(evidence, sort_keys=True, separators=(",", ":"))
