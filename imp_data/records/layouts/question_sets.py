"""Build layouts of question-answering datasets: the questions on an image become one Draft."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter

from imp_data.ledger import Reason, Verdict
from imp_data.manifests import Source
from imp_data.records.layouts.base import (
    Layout,
    list_record_files,
    parse_rows,
    read_groups,
    set_upstream_id,
    validate,
)
from imp_data.records.layouts.columnar_questions import (
    Question,
    QuestionReader,
    prepend_image_token,
    read_question_columns,
    subset_of_file,
)
from imp_data.records.layouts.group_by_image import chunk_by_image
from imp_data.records.layouts.unread_fields import COMMON_IGNORED, LayoutFields, check_unread_fields
from imp_data.sample import (
    IMAGE_TOKEN,
    SHORT_ANSWER_SUFFIX,
    Draft,
    RejectedRecord,
    UpstreamRecord,
    has_visible_text,
)
from imp_data.storage.image_paths import add_prefix


# Above 40 lines: the closures of one layout share its arguments.
def question_layout(
    record: Any,
    *,
    identity: str,
    image: str,
    read: Callable[[Any], Question],
    key: str | None = None,
    texts: tuple[str, str] | None = None,
    ignored: Collection[str] = (),
) -> Layout:
    """Return a layout whose rows are questions with short answers, one Draft per image.

    `record` is the TypedDict of a row. `identity` and `image` are its fields that name the row and
    the image. `key` is the field of the file's outermost object that holds the rows, if the file is
    not an array. `texts` names the fields of question and answer if `read` returns them, and the
    image, unchanged: such rows are read faster. `ignored` are fields without meaning for training.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(record)
    required = frozenset(record.__required_keys__)
    many: TypeAdapter[Any] = TypeAdapter(list[record])
    fields = LayoutFields(frozenset(record.__annotations__), COMMON_IGNORED.union(ignored))
    reader = QuestionReader(adapter, many, identity, read, texts, check_question, fields)

    def assemble(rows: list[UpstreamRecord], source: Source) -> Iterator[Draft | RejectedRecord]:
        accepted: list[tuple[UpstreamRecord, Question]] = []
        for row in parse_rows(rows):
            if isinstance(row, RejectedRecord):
                yield row
                continue
            set_upstream_id(row, identity)
            result = _read_question(row, adapter, read, fields, source)
            if isinstance(result, RejectedRecord):
                yield result
            else:
                accepted.append(result)
        if accepted:
            yield _draft(accepted, source)

    return Layout(
        chunks=lambda folder, source, limits: chunk_by_image(
            list_record_files(folder, source), image, required, limits, key
        ),
        groups=read_groups,
        assemble=assemble,
        fields=fields,
        columns=lambda chunk, source: read_question_columns(chunk, source, reader),
    )


def _read_question(
    row: UpstreamRecord,
    adapter: TypeAdapter[Any],
    read: Callable[[Any], Question],
    fields: LayoutFields,
    source: Source,
) -> tuple[UpstreamRecord, Question] | RejectedRecord:
    record = validate(adapter, row)
    if isinstance(record, RejectedRecord):
        return record
    ignored = check_unread_fields(row.value, fields, source)
    if isinstance(ignored, Verdict):
        return RejectedRecord(row, ignored)
    row.ignored_fields = ignored
    question = read(record)
    problem = check_question(question)
    return RejectedRecord(row, problem) if problem else (row, question)


def check_question(question: Question) -> Verdict | None:
    """Return why one question is rejected, which leaves the others on its image unaffected."""
    if question.split != "train":
        return Verdict(Reason.HELD_OUT_SPLIT, {"split": question.split})
    if not (has_visible_text(question.question) and has_visible_text(question.answer)):
        field = "answer" if has_visible_text(question.question) else "question"
        return Verdict(Reason.EMPTY_VALUE, {"field": field})
    if IMAGE_TOKEN in question.question + question.answer:
        return Verdict(Reason.TOKEN_REPEATED, {"field": "question or answer"})
    return None


def _draft(accepted: Sequence[tuple[UpstreamRecord, Question]], source: Source) -> Draft:
    image = accepted[0][1].image
    return join_questions(
        [(row, question.question, question.answer) for row, question in accepted],
        upstream_id=image,
        subset=subset_of_file(accepted[0][0].file) if source.subsets == "file" else "",
        image=add_prefix(source.image_prefix, image),
        suffix=SHORT_ANSWER_SUFFIX,
    )


def join_questions(
    exchanges: Sequence[tuple[UpstreamRecord, str, str]],
    *,
    upstream_id: str,
    subset: str,
    image: str,
    suffix: str,
) -> Draft:
    """Join (row, question, answer) tuples into one multi-turn Draft.

    Only the first question has the image token and the suffix, as in LLaVA's own data
    (llava_v1_5_mix665k.json) and in the versions of these sources by Mini-Gemini and LLaVA-NeXT.
    """
    turns: list[tuple[str, str]] = []
    for number, (_, question, answer) in enumerate(exchanges):
        text = question.strip()
        turns.append(("human", text if number else prepend_image_token(text, suffix)))
        turns.append(("gpt", answer.strip()))
    return Draft([row for row, _, _ in exchanges], upstream_id, subset, (image,), turns)
