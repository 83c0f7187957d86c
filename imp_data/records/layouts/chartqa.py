"""ChartQA: JSON arrays of questions, written by people or generated (vis-nlp/ChartQA).

Some charts have questions of both kinds; those questions become one Sample.
"""

from typing_extensions import TypedDict

from imp_data.records.layouts.columnar_questions import Question
from imp_data.records.layouts.question_sets import question_layout


class _Record(TypedDict):
    imgname: str
    query: str
    label: str


def _question(record: _Record) -> Question:
    """Keep labels as published, oddities included: the benchmark scores against that form."""
    return Question(
        image=record["imgname"],
        question=record["query"],
        answer=record["label"],
    )


LAYOUT = question_layout(
    _Record, identity="imgname", image="imgname", read=_question, texts=("query", "label")
)
