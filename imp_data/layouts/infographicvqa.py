"""InfographicVQA, task 3 of the RRC challenge: questions on infographics, in an object's `data`."""

from typing_extensions import TypedDict

from imp_data.layouts.plain_questions import Question
from imp_data.layouts.questions import question_layout


class _Record(TypedDict):
    questionId: int | str
    question: str
    image_local_name: str
    answers: list[str]
    data_split: str


def _question(record: _Record) -> Question:
    """Of several answers the first is taken: what the person who asked wrote down."""
    return Question(
        image=record["image_local_name"],
        question=record["question"],
        answer=next(iter(record["answers"]), ""),
        split=record["data_split"],
    )


LAYOUT = question_layout(
    _Record, identity="questionId", picture="image_local_name", read=_question, key="data"
)
