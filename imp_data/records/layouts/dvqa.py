"""DVQA: one JSON array of questions on drawn bar charts (kushalkafle/DVQA_dataset)."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from imp_data.records.layouts.columnar_questions import Question
from imp_data.records.layouts.question_sets import question_layout


class _Record(TypedDict):
    image: str
    question: str
    answer: str
    question_id: NotRequired[Any]


def _question(record: _Record) -> Question:
    """Keep answers as published: digits for values, words for counts."""
    return Question(
        image=record["image"],
        question=record["question"],
        answer=record["answer"],
    )


LAYOUT = question_layout(
    _Record,
    identity="question_id",
    image="image",
    read=_question,
    texts=("question", "answer"),
    # Kinds of question, and the answer's place in the chart.
    ignored=("question_type", "template_id", "answer_bbox", "bbox_answer", "reasoning"),
)
