"""Answer a file of questions with a model, and score the answers.

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
from imp_data.training.evaluation.scoring import Scores, score

# Maps an image, or None, and a question's text to the model's answer.
AnswerFunction = Callable[[Image.Image | None, str], str]


def evaluate(
    model: AnswerFunction,
    name: str,
    questions: Path,
    images: Path,
    benchmark: str,
    annotations: Path | None,
    out: Path,
    blind: bool = False,
) -> Scores:
    """Answer every question, write answers.jsonl and scores.json to `out`; return the scores.

    With `blind`, replace each image by grey, as a baseline without vision.
    """
    rows = read_questions(questions)
    # Check that the annotations match the questions before hours of answering, not after.
    score(benchmark, rows, [Answer(q.id, q.text, "") for q in rows], annotations)
    answers = out / "answers.jsonl"
    write_answers(answers, answer_questions(model, rows, images, blind), name)
    return score_answers(answers, questions, benchmark, annotations, out)


def score_answers(
    answers: Path, questions: Path, benchmark: str, annotations: Path | None, out: Path
) -> Scores:
    """Score a file of answers, ours or LLaVA's; write scores.json to `out`."""
    figures = score(benchmark, read_questions(questions), read_answers(answers), annotations)
    write_text(out / "scores.json", json_text({"benchmark": benchmark, **figures}))
    return figures


def answer_questions(
    model: AnswerFunction, questions: Sequence[Question], images: Path, blind: bool = False
) -> list[Answer]:
    """Return the model's answer to each question, in order."""
    answers = []
    with progress("evaluate", "questions", len(questions)) as counter:
        for question in questions:
            image = _read_image(question, images) if question.image else None
            if image is not None and blind:
                image = Image.new("RGB", image.size, GREY)
            answers.append(Answer(question.id, question.text, model(image, question.text).strip()))
            counter.add(1)
    return answers


def format_scores(figures: Scores) -> str:
    """Format the scores as a table."""
    width = max(len(name) for name in figures)
    return "\n".join(
        f"{name:<{width}}  {value:>10,}"
        if isinstance(value, int)
        else f"{name:<{width}}  {value:>10,.2f}"
        for name, value in figures.items()
    )


def _read_image(question: Question, images: Path) -> Image.Image:
    path = images / str(question.image)
    try:
        return decode_rgb(path.read_bytes())
    except (OSError, NoImage) as error:
        problem = f"question {question.id}: its image cannot be read ({error})"
        raise UserError(path, problem, "name the folder of the benchmark's images") from None
