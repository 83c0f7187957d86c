"""InfographicVQA, task 3 of the RRC challenge: questions on infographics, in an object's `data`."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from imp_data.records.layouts.columnar_questions import Question
from imp_data.records.layouts.question_sets import question_layout


class _Record(TypedDict):
    questionId: NotRequired[Any]
    question: str
    image_local_name: str
    answers: list[str]
    data_split: str


def _question(record: _Record) -> Question:
    """Take the first of several answers: the one of the question's author."""
    return Question(
        image=record["image_local_name"],
        question=record["question"],
        answer=next(iter(record["answers"]), ""),
        split=record["data_split"],
    )


LAYOUT = question_layout(
    _Record,
    identity="questionId",
    image="image_local_name",
    read=_question,
    key="data",
    # Kinds of answer, where the image was found, and its OCR output.
    ignored=("answer_type", "operation/reasoning", "image_url", "ocr_output_file", "ocr"),
)
