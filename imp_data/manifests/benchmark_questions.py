"""The questions of a benchmark, and what happens to records that repeat them."""

from typing import Annotated, Literal

from pydantic import Field

from imp_data.manifests.base import StrictModel
from imp_data.manifests.fields import RelativePath

Handling = Literal["drop", "report"]


class QuestionColumns(StrictModel):
    """Columns of a file of questions; those left out are recognised by their usual names."""

    id: str | None = Field(None, description="id of the question; its number in the file otherwise")
    question: str | None = None
    answers: str | None = Field(
        None, description="an answer, a list of them, or the place of the right option, from 0"
    )
    options: tuple[str, ...] = Field(
        (), description="the column of a list of options, or the column of each option"
    )
    image: str | None = Field(
        None, description="id of the image: tells how many images a question is asked about"
    )


class BenchmarkQuestions(StrictModel):
    """The files of a benchmark's questions: JSON, JSON Lines or Parquet."""

    files: Annotated[tuple[RelativePath, ...], Field(min_length=1)] = Field(
        description="among `files` of the manifest; the splits on which models are tested"
    )
    columns: QuestionColumns = QuestionColumns()


class ContaminationPolicy(StrictModel):
    """What happens to a Sample that repeats a benchmark: it is dropped, or it is reported.

    A Sample belongs to the first of these that is true of it: image and question, image, answer,
    question.
    """

    image_and_question: Literal["drop"] = Field(
        "drop", description="its image is the benchmark's, and so is a question about that image"
    )
    image: Literal["drop"] = Field("drop", description="one of its images is the benchmark's")
    answer: Handling = Field(
        "report", description="it has a question of the benchmark with its answer, or a long answer"
    )
    question: Handling = Field("report", description="it has a question of the benchmark")
