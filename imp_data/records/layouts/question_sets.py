"""Questions on one image, joined to one conversation as LLaVA writes its own."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter

from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Source
from imp_data.records.layouts.base import (
    Layout,
    chunk_groups,
    name_row,
    read_rows,
    record_files,
    validated,
)
from imp_data.records.layouts.columnar_questions import (
    Fields,
    Question,
    file_subset,
    opened_with_image,
    plain_questions,
)
from imp_data.records.layouts.group_by_image import grouped_chunks
from imp_data.records.layouts.unread_fields import COMMON, Keys, verdict_on
from imp_data.sample import (
    IMAGE_TOKEN,
    SHORT_ANSWER_SUFFIX,
    Draft,
    Refused,
    Row,
    says_something,
)


def question_layout(
    record: Any,
    *,
    identity: str,
    image: str,
    read: Callable[[Any], Question],
    key: str | None = None,
    texts: tuple[str, str] | None = None,
    meaningless: Collection[str] = (),
) -> Layout:
    """A layout whose rows are questions with short answers, one Draft an image.

    `record` is the TypedDict of a row, `identity` and `image` its fields that name the row and
    the image, `key` the field of the file's outermost object that holds the rows, if it is not
    an array itself. `texts` names the fields of question and answer where `read` takes them, and
    the image, just as they are: such rows are read faster. `meaningless` are fields that are not
    read, as they carry no meaning for training.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(record)
    required = frozenset(record.__required_keys__)
    many: TypeAdapter[Any] = TypeAdapter(list[record])
    keys = Keys(frozenset(record.__annotations__), COMMON.union(meaningless))
    fields = Fields(adapter, many, identity, read, texts, question_problem, keys)

    def assemble(rows: list[Row], source: Source) -> Iterator[Draft | Refused]:
        asked: list[tuple[Row, Question]] = []
        for row in read_rows(rows):
            if isinstance(row, Refused):
                yield row
                continue
            name_row(row, identity)
            result = _asked(row, adapter, read, keys, source)
            if isinstance(result, Refused):
                yield result
            else:
                asked.append(result)
        if asked:
            yield _draft(asked, source)

    return Layout(
        chunks=lambda folder, source, limits: grouped_chunks(
            record_files(folder, source), image, required, limits, key
        ),
        groups=chunk_groups,
        assemble=assemble,
        keys=keys,
        plain=lambda chunk, source: plain_questions(chunk, source, fields),
    )


def _asked(
    row: Row, adapter: TypeAdapter[Any], read: Callable[[Any], Question], keys: Keys, source: Source
) -> tuple[Row, Question] | Refused:
    record = validated(adapter, row)
    if isinstance(record, Refused):
        return record
    over = verdict_on(row.value, keys, source)
    if isinstance(over, Verdict):
        return Refused(row, over)
    row.passed_over = over
    question = read(record)
    problem = question_problem(question)
    return Refused(row, problem) if problem else (row, question)


def question_problem(question: Question) -> Verdict | None:
    """What keeps one question out without harm to the others on its image."""
    if question.split != "train":
        return Verdict(Reason.HELD_OUT_SPLIT, {"split": question.split})
    if not (says_something(question.question) and says_something(question.answer)):
        field = "answer" if says_something(question.question) else "question"
        return Verdict(Reason.EMPTY_VALUE, {"field": field})
    if IMAGE_TOKEN in question.question + question.answer:
        return Verdict(Reason.TOKEN_REPEATED, {"field": "question or answer"})
    return None


def _draft(asked: Sequence[tuple[Row, Question]], source: Source) -> Draft:
    image = asked[0][1].image
    return joined(
        [(row, question.question, question.answer) for row, question in asked],
        upstream_id=image,
        subset=file_subset(asked[0][0].file) if source.subsets == "file" else "",
        image=source.image_prefix + image,
        suffix=SHORT_ANSWER_SUFFIX,
    )


def joined(
    exchanges: Sequence[tuple[Row, str, str]],
    *,
    upstream_id: str,
    subset: str,
    image: str,
    suffix: str,
) -> Draft:
    """One multi-turn Draft of (row, question, answer).

    The image's token and the suffix stand in the first question alone, as in LLaVA's own data
    (llava_v1_5_mix665k.json) and in what Mini-Gemini and LLaVA-NeXT made of these sources.
    """
    turns: list[tuple[str, str]] = []
    for number, (_, question, answer) in enumerate(exchanges):
        text = question.strip()
        turns.append(("human", text if number else opened_with_image(text, suffix)))
        turns.append(("gpt", answer.strip()))
    return Draft([row for row, _, _ in exchanges], upstream_id, subset, image, turns)
