"""A model's answers to a file of questions, and what they come to.

    imp-data evaluate MODEL --questions FILE --images FOLDER --benchmark textvqa \\
        --annotations TextVQA_0.5.1_val.json --out FOLDER
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from imp_data.errors import UserError
from imp_data.images.decoding import NoImage, decode_rgb
from imp_data.images.square import GREY
from imp_data.parallel.progress import progress
from imp_data.storage.atomic_write import json_text, write_text
from imp_data.training.evaluation.questions import (
    Answer,
    Question,
    read_answers,
    read_questions,
    write_answers,
)
from imp_data.training.evaluation.scoring import Figures, score

# An image, or none, and the question's text; what the model says to it.
Model = Callable[[Image.Image | None, str], str]


def evaluate(
    model: Model,
    name: str,
    questions: Path,
    images: Path,
    benchmark: str,
    annotations: Path | None,
    out: Path,
    blind: bool = False,
) -> Figures:
    """Ask every question, write answers.jsonl and scores.json to `out`; returns the scores.

    A blind model is shown grey in place of each image: what it then knows, it does not see.
    """
    asked = read_questions(questions)
    # Before hours of answers, not after: do the annotations fit the questions?
    score(benchmark, asked, [Answer(q.id, q.text, "") for q in asked], annotations)
    answers = out / "answers.jsonl"
    write_answers(answers, answered(model, asked, images, blind), name)
    return rescore(answers, questions, benchmark, annotations, out)


def rescore(
    answers: Path, questions: Path, benchmark: str, annotations: Path | None, out: Path
) -> Figures:
    """The scores of a file of answers, ours or LLaVA's; scores.json goes to `out`."""
    figures = score(benchmark, read_questions(questions), read_answers(answers), annotations)
    write_text(out / "scores.json", json_text({"benchmark": benchmark, **figures}))
    return figures


def answered(
    model: Model, questions: Sequence[Question], images: Path, blind: bool = False
) -> list[Answer]:
    """What the model says to each question, in their order."""
    answers = []
    with progress("evaluate", "questions", len(questions)) as told:
        for question in questions:
            shown = _image(question, images) if question.image else None
            if shown is not None and blind:
                shown = Image.new("RGB", shown.size, GREY)
            answers.append(Answer(question.id, question.text, model(shown, question.text).strip()))
            told.add(1)
    return answers


def scores_text(figures: Figures) -> str:
    """The scores as a table for people."""
    width = max(len(name) for name in figures)
    return "\n".join(
        f"{name:<{width}}  {value:>10,}"
        if isinstance(value, int)
        else f"{name:<{width}}  {value:>10,.2f}"
        for name, value in figures.items()
    )


def _image(question: Question, images: Path) -> Image.Image:
    path = images / str(question.image)
    try:
        return decode_rgb(path.read_bytes())
    except (OSError, NoImage) as error:
        problem = f"question {question.id}: its image cannot be read ({error})"
        raise UserError(path, problem, "name the folder of the benchmark's images") from None
