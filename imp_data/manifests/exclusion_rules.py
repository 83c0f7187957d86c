"""Rules that exclude records from a mixture: where they apply, and one criterion each."""

from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from imp_data.manifests.base import StrictModel
from imp_data.manifests.field_errors import UNION_TAG
from imp_data.manifests.fields import Count, Name, Positive, RelativePath

RULE_FILE_ENDINGS = (".txt", ".csv", ".json", ".jsonl", ".parquet")


def _check_expression(pattern: str) -> str:
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        problem = str(error).removeprefix("Invalid regular expression: ")
        raise ValueError(f"is not a regular expression of RE2: {problem}") from None
    return pattern


def _check_ending(path: str) -> str:
    if not path.lower().endswith(RULE_FILE_ENDINGS):
        raise ValueError(f"must end in {', '.join(RULE_FILE_ENDINGS)}")
    return path


def _check_parquet(path: str) -> str:
    if not path.lower().endswith(".parquet"):
        raise ValueError("must end in .parquet")
    return path


Expression = Annotated[str, Field(min_length=1), AfterValidator(_check_expression)]
Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
Side = Literal["questions", "answers", "both"]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Bounds(StrictModel):
    """Base of criteria with limits: at least one must be stated, and a minimum is no maximum."""

    @model_validator(mode="after")
    def _check_bounds(self) -> "_Bounds":
        stated = {n: v for n in type(self).model_fields if (v := getattr(self, n)) is not None}
        limits = {n: v for n, v in stated.items() if n.startswith(("min", "max"))}
        if not limits:
            raise ValueError("states no limit; add a min or a max")
        for name, value in limits.items():
            most = limits.get(name.replace("min", "max", 1))
            if name.startswith("min") and most is not None and value > most:
                raise ValueError(f"{name}: {value} is above the maximum, {most}")
        return self


class ListedRecords(StrictModel):
    """Exclude the records that a file lists."""

    file: Annotated[RelativePath, AfterValidator(_check_ending)] = Field(
        description="relative to the mixture's manifest: text with one value per line; CSV or "
        "Parquet with the column `column`; a JSON array of texts, or of objects with that field"
    )
    of: Literal["id", "upstream_id", "image", "image_name"] = Field(
        "upstream_id",
        description="what the file lists: ids, upstream ids, image paths, or the last parts of "
        "image paths",
    )
    column: str | None = Field(None, description="column or field; default: the value of `of`")


class TextPattern(StrictModel):
    """Exclude the records of which a question or an answer matches a regular expression."""

    pattern: Expression = Field(description="RE2; matches anywhere; (?i) ignores case")
    side: Side = Field("both", alias="in")


class AnswerLength(_Bounds):
    """Exclude the records whose longest answer is shorter or longer than these limits."""

    min_words: Positive | None = None
    max_words: Count | None = None
    min_characters: Positive | None = None
    max_characters: Count | None = None


class Language(StrictModel):
    """Exclude the records in other languages than those to keep, or in those to drop.

    Languages are ISO 639-1 codes. Shorter texts than `min_characters` stay: their language is
    uncertain.
    """

    keep: Texts | None = None
    drop: Texts | None = None
    side: Side = Field("answers", alias="in")
    min_characters: Positive = 40
    min_probability: Annotated[float, Field(ge=0, le=1)] = Field(
        0.9, description="a text stays if its language is less certain than that"
    )

    @model_validator(mode="after")
    def _check_languages(self) -> "Language":
        if (self.keep is None) == (self.drop is None):
            raise ValueError("keep: state either `keep` or `drop`")
        return self


class ImageSize(_Bounds):
    """Exclude the records whose image is outside these limits, in pixels as stored."""

    min_side: Positive | None = Field(None, description="of the shorter side")
    max_side: Positive | None = Field(None, description="of the longer side")
    min_pixels: Positive | None = None
    max_pixels: Positive | None = None
    max_aspect: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = Field(
        None, description="longer side divided by the shorter one"
    )


class Score(_Bounds):
    """Exclude the records whose score in a Parquet file is outside these limits."""

    file: Annotated[RelativePath, AfterValidator(_check_parquet)] = Field(
        description="Parquet, relative to the mixture's manifest"
    )
    column: str = Field(description="column of numbers")
    by: Literal["id", "upstream_id", "image", "image_sha256"] = Field(
        "id", description="what joins records and scores; also the name of the file's column"
    )
    key: str | None = Field(None, description="column that joins; default: the value of `by`")
    min: Finite | None = None
    max: Finite | None = None
    without: Literal["keep", "drop"] = Field(
        "keep", description="records without a score, or with one that is null or no number"
    )


CRITERIA = ("listed", "text", "answer_length", "language", "image_size", "score")
_OF_IMAGES = ("image_size",)


class ExclusionRule(StrictModel):
    """Exclude the records of some sources, subsets or licences that meet a criterion.

    Without a criterion, exclude all of them.
    """

    name: Name
    because: Annotated[str, Field(min_length=1)]
    expect: Count | None = Field(None, description="number of Samples; a check compares it")
    sources: Annotated[tuple[Name, ...], Field(min_length=1)] | None = Field(
        None, description="default: all sources of the mixture"
    )
    subsets: Texts | None = Field(None, description="default: all subsets")
    licenses: Texts | None = Field(None, description="licences as sources state them; default: all")
    listed: ListedRecords | None = None
    text: TextPattern | None = None
    answer_length: AnswerLength | None = None
    language: Language | None = None
    image_size: ImageSize | None = None
    score: Score | None = None

    @model_validator(mode="after")
    def _check_criterion(self) -> "ExclusionRule":
        stated = [name for name in CRITERIA if getattr(self, name) is not None]
        if len(stated) > 1:
            raise ValueError(f"{stated[1]}: write a rule of its own, beside {stated[0]}")
        if not stated and not (self.sources or self.subsets or self.licenses):
            raise ValueError(f"states nothing to exclude; add one of {', '.join(CRITERIA)}")
        if self.needs_image and self.subsets:
            raise ValueError("subsets: images are decided for a whole source; name sources")
        return self

    @property
    def criterion(self) -> str | None:
        """Return the name of the stated criterion; None if the rule has none."""
        return next((name for name in CRITERIA if getattr(self, name) is not None), None)

    @property
    def needs_image(self) -> bool:
        """Return whether the rule applies to fingerprints of images instead of text."""
        by_bytes = self.score is not None and self.score.by == "image_sha256"
        return by_bytes or self.criterion in _OF_IMAGES

    @property
    def file(self) -> str | None:
        """Return the file that the rule reads, relative to the mixture's manifest."""
        reads = self.listed or self.score
        return reads.file if reads else None

    def applies_to(self, source: str, license: str) -> bool:
        """Return whether the rule may exclude records of a source."""
        return (self.sources is None or source in self.sources) and (
            self.licenses is None or license in self.licenses
        )


class Exclusion(StrictModel):
    """A kind of record to exclude from one source, identified by two criteria that must agree."""

    name: Name
    source: Name
    image_prefix: str
    prompt: str = Field(description="text that the first question contains")
    subset: str = Field(description="the subset that must be empty afterwards")
    expect: Count | None = None
    because: str


def _kind_of_exclusion(value: Any) -> str:
    # Python code may pass a model instead of a mapping.
    fields = value if isinstance(value, dict) else dir(value)
    return f"{UNION_TAG}{'kind' if 'image_prefix' in fields or 'prompt' in fields else 'rule'}"


AnyExclusion = Annotated[
    Annotated[Exclusion, Tag(f"{UNION_TAG}kind")]
    | Annotated[ExclusionRule, Tag(f"{UNION_TAG}rule")],
    Discriminator(_kind_of_exclusion),
]
