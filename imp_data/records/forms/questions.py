"""The form `questions`: columns of question and answer, with options and a hint if there are any.

DocVQA, InfographicVQA, ChartQA, VQAv2, ScienceQA, A-OKVQA, MMMU, MMBench and others publish rows of
this form.
"""

import json
import math
from typing import Any

from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict
from imp_data.records.forms.assemble import assemble, required_field
from imp_data.records.forms.base import (
    Conversation,
    Form,
    FormSettings,
    RecordError,
    choose_field,
    column_names,
    form_reader,
    read_text,
    wrong_type,
)
from imp_data.records.forms.images import image_columns, number_images, read_images
from imp_data.records.forms.lettered_options import (
    LETTERED_COLUMNS,
    index_of_letter,
    is_absent,
    read_lettered_options,
)
from imp_data.records.forms.list_text import read_list_text
from imp_data.records.forms.numbered_tokens import has_numbered_tokens, place_by_number
from imp_data.records.forms.options import letter_options, read_options
from imp_data.records.forms.turns import read_system
from imp_data.records.layouts.unread_fields import COMMON_IGNORED, LayoutFields
from imp_data.sample import has_visible_text

_ROLES = ("question", "answer", "answers", "options", "answer_index", "hint", "split")
# Kinds of question and of answer, who wrote them, places in a scanned library, further answers.
_IGNORED = frozenset(
    (
        *("question_types", "question_type", "answer_type", "operation/reasoning", "ocr"),
        *("docId", "ucsf_document_id", "ucsf_document_page_no", "human_or_machine"),
        *("template_id", "answer_bbox", "direct_answers", "difficult_direct_answer"),
        *("grade", "subject", "skill", "subfield", "topic_difficulty", "img_type"),
        *("l2-category", "comment"),  # MMBench's comments are its annotators' own
    )
)


@form_reader
def read(record: dict[str, Any], settings: FormSettings, ordinal: int) -> Conversation:
    """Read a record of one question; its options and their letter, if it has options."""
    _check_split(record, settings)
    asked = required_field(record, settings, "question")
    question = _visible(read_text(record[asked], asked), asked)
    name = choose_field(record, column_names(settings, "hint"))
    hint = read_text(record[name], name).strip() if name else ""
    hint = "" if is_absent(hint) else hint
    # lmms-eval writes a hint so (tasks/scienceqa/utils.py), and LLaVA its evaluation of ScienceQA.
    question = f"Context: {hint}\n{question}" if hint else question
    lines, answer, repairs = _read_options_and_answer(record, settings)
    question = f"{question}\n{lines}" if lines else question
    images, found = read_images(record, settings)
    if has_numbered_tokens(question):
        question, images = place_by_number(question, number_images(record, settings), asked)
    turns = read_system(record, settings, [("human", question), ("gpt", answer)])
    return assemble(record, settings, images, turns, repairs=[*found, *repairs], has_tokens=False)


def _read_options_and_answer(
    record: dict[str, Any], settings: FormSettings
) -> tuple[str, str, list[AppliedRepair]]:
    """Return the lines of the options, empty without options; the answer; and its repairs."""
    listed = choose_field(record, column_names(settings, "options"))
    options = read_options(record[listed], listed) if listed else []
    lettered = None if listed else read_lettered_options(record)
    if lettered is not None:
        listed, options = lettered.column, lettered.texts
    if listed and any(options):
        answered = _answer_column(record, settings, "answer_index", "answer", "answers")
        correct = _first(record[answered])
        if lettered is not None:
            correct = index_of_letter(correct, len(options))
        return *letter_options(options, correct, listed), []
    answered = _answer_column(record, settings, "answer", "answers")
    # MMMU states no options as the text `[]`, and several answers as the text of a list.
    value = read_list_text(record[answered]) if listed else record[answered]
    return "", *_read_answer(value, answered, settings)


def _check_split(record: dict[str, Any], settings: FormSettings) -> None:
    """Raise RecordError if the record belongs to another split than train, as DocVQA states."""
    name = choose_field(record, column_names(settings, "split"))
    if name and record[name] != "train":
        raise RecordError(
            Verdict(Reason.HELD_OUT_SPLIT, {"field": name, "split": str(record[name])[:40]})
        )


def _answer_column(record: dict[str, Any], settings: FormSettings, *roles: str) -> str:
    """Return the first column of an answer; `answers` beside `answer` are further annotations."""
    for role in roles:
        name = choose_field(record, column_names(settings, role))
        if name is not None:
            return name
    return required_field(record, settings, "answer", "answers")


def _first(value: Any) -> Any:
    """Return the first of several answers, that of the question's author; VQAv2's are objects."""
    if isinstance(value, list):
        value = value[0] if value else ""
        if isinstance(value, dict) and "answer" in value:
            return value["answer"]
    return value


def _read_answer(value: Any, field: str, settings: FormSettings) -> tuple[str, list[AppliedRepair]]:
    """Return an answer as text, and the repair of one that was a number."""
    answer = _first(value)
    if isinstance(answer, int | float) and not isinstance(answer, bool) and math.isfinite(answer):
        if field == "label" and "answer" not in settings.columns:
            raise wrong_type(
                field, "is the number of a class, and the record has no options", answer
            )
        text = json.dumps(answer)
        return text, [AppliedRepair(Repair.NUMBER_TO_TEXT, text)]
    return _visible(read_text(answer, field), field), []


def _visible(text: str, field: str) -> str:
    if not has_visible_text(text):
        raise RecordError(Verdict(Reason.EMPTY_VALUE, {"field": field}))
    return text.strip()


def fields(settings: FormSettings) -> LayoutFields:
    """Return the fields of a record."""
    read = {*column_names(settings, *_ROLES, "system", "id", "subset"), *image_columns(settings)}
    return LayoutFields(frozenset(read | LETTERED_COLUMNS), COMMON_IGNORED | _IGNORED)


def recognises(record: dict[str, Any]) -> bool:
    """Return whether a record has a question that is text, and an answer."""
    names = column_names(FormSettings(), "answer", "answers", "answer_index")
    asked = any(
        isinstance(record.get(name), str) for name in column_names(FormSettings(), "question")
    )
    return asked and any(record.get(name) is not None for name in names)


FORM = Form(read, fields, recognises)
