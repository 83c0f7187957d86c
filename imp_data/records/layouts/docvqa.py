"""DocVQA, task 1 of the RRC challenge: questions on scanned pages, in an object's `data`."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from imp_data.records.layouts.columnar_questions import Question
from imp_data.records.layouts.question_sets import question_layout


class _Record(TypedDict):
    questionId: NotRequired[Any]
    question: str
    image: str
    answers: list[str]
    data_split: str


def _question(record: _Record) -> Question:
    """Take the first of several answers: the one of the question's author."""
    return Question(
        image=record["image"],
        question=record["question"],
        answer=next(iter(record["answers"]), ""),
        split=record["data_split"],
    )


LAYOUT = question_layout(
    _Record,
    identity="questionId",
    image="image",
    read=_question,
    key="data",
    # Kinds of question, and the page's place in the library that it was scanned for.
    ignored=("question_types", "docId", "ucsf_document_id", "ucsf_document_page_no"),
)
