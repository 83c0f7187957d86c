"""How a mixture asks about its images: what a chat offers as examples, and for short answers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from imp_data.errors import UserError
from imp_data.mobile.gguf.bundle import ExampleQuestion, QuestionStyle
from imp_data.sample import IMAGE_TOKEN
from imp_data.training.data.shards import Shards

# A mixture is in random order, so that its beginning speaks for all of it.
_ROWS = 100_000
_EXAMPLES, _OF_ONE_SOURCE = 4, 2
# Longer ones are about one image, or bring their options along.
_LONGEST = 60


def read_question_style(mixtures: Sequence[Path], suffix: str | None) -> QuestionStyle:
    """How the mixtures in these folders ask; the questions that stand there most often.

    Raises UserError where none of them asks with the suffix: the model has not learned it.
    """
    asked = pl.concat([_questions(Shards(folder), suffix) for folder in mixtures] or [_NONE])
    openings = asked.filter("opens")
    if suffix and mixtures and not openings["short"].any():
        problem = f"no question about an image in {', '.join(map(str, mixtures))} ends with it"
        remedy = "write it as the mixture has it, or leave it out"
        raise UserError(f"short_answer_suffix {suffix!r}", problem, remedy)
    return QuestionStyle(
        short_answer_suffix=suffix,
        short_by_default=_most(openings["short"]),
        examples=list(_examples(asked)),
    )


_NONE = pl.DataFrame(
    schema={"source": pl.String, "text": pl.String, "short": pl.Boolean, "opens": pl.Boolean}
)


def _questions(shards: Shards, suffix: str | None) -> pl.DataFrame:
    """Each question about an image, without token and suffix; a conversation is short whose first
    question has the suffix, as in LLaVA's data the others follow it."""
    found, rows = [_NONE], 0
    for batch in shards.batches(["source", "subset", "image", "conversations"]):
        found.append(_asked(batch.head(_ROWS - rows), suffix))
        rows += len(batch)
        if rows >= _ROWS:
            break
    return pl.concat(found)


def _asked(rows: pl.DataFrame, suffix: str | None) -> pl.DataFrame:
    turns = pl.col("conversations")
    human = turns.list.filter(pl.element().struct.field("from") == "human")
    asked = (
        rows.filter(pl.col("image").is_not_null())
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
    return asked.select("source", bare.str.strip_chars().alias("text"), "short", "opens")


def _most(flags: pl.Series) -> bool:
    return 2 * int(flags.sum()) > len(flags)


def _examples(asked: pl.DataFrame) -> Iterator[ExampleQuestion]:
    """The most frequent questions, few of one source; of those equal in number by alphabet."""
    fit = pl.col("text").str.len_chars().is_between(1, _LONGEST)
    one_line = ~pl.col("text").str.contains("\n", literal=True)
    counted = (
        asked.filter(fit & one_line)
        .group_by("source", "text", "short")
        .len()
        .sort(["len", "source", "text", "short"], descending=[True, False, False, False])
        .unique("text", keep="first", maintain_order=True)
        .filter(pl.int_range(pl.len()).over("source") < _OF_ONE_SOURCE)
    )
    for text, short in counted.head(_EXAMPLES).select("text", "short").iter_rows():
        yield ExampleQuestion(text=text, short=short)
