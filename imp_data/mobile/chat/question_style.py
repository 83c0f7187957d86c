"""Derive from a mixture how its questions are worded: examples and the suffix for short answers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from imp_data.errors import UserError
from imp_data.mobile.gguf.export_manifest import ExampleQuestion, QuestionStyle
from imp_data.sample import IMAGE_TOKEN
from imp_data.training.data.shards import Shards

# A mixture is in random order, so its first rows are a random sample.
_MAX_ROWS = 100_000
_EXAMPLES, _EXAMPLES_PER_SOURCE = 4, 2
# Longer questions concern one particular image or list answer options.
_MAX_CHARACTERS = 60


def read_question_style(mixtures: Sequence[Path], suffix: str | None) -> QuestionStyle:
    """Return the question style of the mixtures in these folders, with frequent questions.

    Raise UserError if no question ends with the suffix: the model has not learned it.
    """
    questions = pl.concat([_questions(Shards(folder), suffix) for folder in mixtures] or [_NONE])
    openings = questions.filter("opens")
    if suffix and mixtures and not openings["short"].any():
        problem = f"no question about an image in {', '.join(map(str, mixtures))} ends with it"
        remedy = "write the suffix as it occurs in the mixture, or leave it out"
        raise UserError(f"short_answer_suffix {suffix!r}", problem, remedy)
    return QuestionStyle(
        short_answer_suffix=suffix,
        short_by_default=_is_majority(openings["short"]),
        examples=list(_examples(questions)),
    )


_NONE = pl.DataFrame(
    schema={"source": pl.String, "text": pl.String, "short": pl.Boolean, "opens": pl.Boolean}
)


def _questions(shards: Shards, suffix: str | None) -> pl.DataFrame:
    """Return every question about one image alone, without image token and suffix.

    A question about several images would be no example for a chat about one.
    `short` is true for a whole conversation whose first question has the suffix: in LLaVA's data
    it applies to the later questions too.
    """
    found, rows = [_NONE], 0
    for batch in shards.batches(["source", "subset", shards.image_column, "conversations"]):
        found.append(_questions_of(batch.head(_MAX_ROWS - rows), suffix))
        rows += len(batch)
        if rows >= _MAX_ROWS:
            break
    return pl.concat(found)


def _questions_of(rows: pl.DataFrame, suffix: str | None) -> pl.DataFrame:
    turns = pl.col("conversations")
    lists = "images" in rows.columns
    about_one = pl.col("images").list.len() == 1 if lists else pl.col("image").is_not_null()
    human = turns.list.filter(pl.element().struct.field("from") == "human")
    questions = (
        rows.filter(about_one)
        .select(
            source=pl.col("source") + "/" + pl.col("subset").fill_null(""),
            text=human.list.eval(pl.element().struct.field("value")),
        )
        .filter(pl.col("text").list.len() > 0)
        .with_columns(
            short=pl.col("text").list.first().str.ends_with(suffix) if suffix else pl.lit(False),
            opens=pl.concat_list(
                pl.lit([True], pl.List(pl.Boolean)),
                pl.lit(False).repeat_by(pl.col("text").list.len() - 1),
            ),
        )
        .explode("text", "opens")
    )
    bare = pl.col("text").str.replace_all(IMAGE_TOKEN, "", literal=True)
    bare = bare.str.strip_suffix(suffix) if suffix else bare
    return questions.select("source", bare.str.strip_chars().alias("text"), "short", "opens")


def _is_majority(flags: pl.Series) -> bool:
    return 2 * int(flags.sum()) > len(flags)


def _examples(questions: pl.DataFrame) -> Iterator[ExampleQuestion]:
    """Yield the most frequent questions, few per source; ties are in alphabetical order."""
    fits = pl.col("text").str.len_chars().is_between(1, _MAX_CHARACTERS)
    one_line = ~pl.col("text").str.contains("\n", literal=True)
    counted = (
        questions.filter(fits & one_line)
        .group_by("source", "text", "short")
        .len()
        .sort(["len", "source", "text", "short"], descending=[True, False, False, False])
        .unique("text", keep="first", maintain_order=True)
        .filter(pl.int_range(pl.len()).over("source") < _EXAMPLES_PER_SOURCE)
    )
    for text, short in counted.head(_EXAMPLES).select("text", "short").iter_rows():
        yield ExampleQuestion(text=text, short=short)
