"""Evaluation: questions, answers, and scores from the benchmarks' own files."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import photo
from PIL import Image
from test_cli import Ran

from imp_data.errors import UserError
from imp_data.training.evaluation.evaluate import (
    AnswerFunction,
    evaluate,
    format_scores,
    score_answers,
)
from imp_data.training.evaluation.questions import Answer, read_questions, write_answers
from imp_data.training.evaluation.scoring import score

SHORT = "\nAnswer the question using a single word or phrase."
REAL = Path(os.environ.get("IMP_REAL_DATA") or "unset")


def lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def whole(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def says(*answers: str) -> AnswerFunction:
    """Return a model that gives these answers in order."""
    waiting = list(answers)
    return lambda image, question: waiting.pop(0)


def images(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(number).save(path)
    return folder


def test_textvqa(tmp_path: Path) -> None:
    """Two images, three questions; four, two and none of ten answers are equal: 1, 0.6 and 0."""
    pairs = [
        ("a", f"Which Brand?{SHORT}"),
        ("b", f"What word?\nReference OCR token: STOP, GO{SHORT}"),
        ("b", f"Reference OCR token: STOP\nHow many?{SHORT}"),
    ]
    rows = [
        {"question_id": image, "image": f"{image}.jpg", "text": text, "category": "default"}
        for image, text in pairs
    ]
    people = [
        ("a", "which brand?", ["dakota"] * 4 + ["x"] * 6),
        ("b", "what word?", ["stop"] * 2 + ["y"] * 8),
        ("b", "how many?", ["2"] * 10),
    ]
    annotations = whole(
        tmp_path / "val.json",
        {"data": [{"image_id": i, "question": q, "answers": a} for i, q, a in people]},
    )
    figures = evaluate(
        *(says("Dakota", "STOP.", "three"), "imp", lines(tmp_path / "q.jsonl", rows)),
        *(images(tmp_path / "images", "a.jpg", "b.jpg"), "textvqa", annotations, tmp_path),
    )
    assert figures == {"questions": 3, "accuracy": pytest.approx(100 * 1.6 / 3)}
    written = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert written[1] == {
        "question_id": "b",
        "prompt": rows[1]["text"],
        "text": "STOP.",
        "answer_id": "imp-1",
        "model_id": "imp",
        "metadata": {},
    }
    answers = tmp_path / "answers.jsonl"
    assert score_answers(answers, tmp_path / "q.jsonl", "textvqa", annotations, tmp_path) == figures
    assert json.loads((tmp_path / "scores.json").read_text())["benchmark"] == "textvqa"
    assert "accuracy" in format_scores(figures)


def pope_files(folder: Path) -> tuple[Path, Path]:
    rows, number = [], 0
    for category, labels in (("adversarial", ["yes", "no"]), ("random", ["no", "yes"])):
        texts = [f"Is there a {thing} in the image?" for thing in ("dog", "cat")]
        truth = [{"text": t, "label": label} for t, label in zip(texts, labels, strict=True)]
        lines(folder / f"coco_pope_{category}.json", truth)
        for text in texts:
            number += 1
            rows.append({"question_id": number, "image": "a.png", "text": text + SHORT})
            rows[-1]["category"] = category
    return lines(folder / "q.jsonl", rows), folder


def answers_to(questions: Path, *texts: str) -> list[Answer]:
    return [
        Answer(question.id, question.text, text)
        for question, text in zip(read_questions(questions), texts, strict=True)
    ]


def test_pope(tmp_path: Path) -> None:
    """One category is all right (F1 1), the other always yes (F1 2/3): the mean is 5/6."""
    questions, folder = pope_files(tmp_path)
    answers = answers_to(questions, "Yes", "No", "Yes", "Yes")
    figures = score("pope", read_questions(questions), answers, folder)
    assert figures["f1"] == pytest.approx(5 / 6)
    assert figures["adversarial.accuracy"] == 1
    assert figures["random.yes_share"] == 1


def test_popes_labels_must_match_the_questions(tmp_path: Path) -> None:
    questions, folder = pope_files(tmp_path)
    lines(folder / "coco_pope_random.json", [{"text": "Is there a dog?", "label": "no"}])
    with pytest.raises(
        UserError, match=r"coco_pope_random\.json: its 1 questions differ from the 2"
    ):
        answers = answers_to(questions, "", "", "", "")
        score("pope", read_questions(questions), answers, folder)


def test_scienceqa(tmp_path: Path) -> None:
    """Two of three problems have images, and one of those is right; the third is unanswered."""
    problems = {
        pid: {"choices": ["x", "y", "z"], "answer": answer, "image": image}
        for pid, answer, image in (("1", 0, "image.png"), ("2", 1, "image.png"), ("3", 2, None))
    }
    whole(tmp_path / "problems.json", problems)
    whole(tmp_path / "pid_splits.json", {"test": ["1", "2", "3"]})
    turns = [{"from": "human", "value": "Which?\n<image>"}, {"from": "gpt", "value": "A"}]
    rows = [{"id": pid, "image": f"{pid}.png", "conversations": turns} for pid in "12"]
    questions = read_questions(whole(tmp_path / "q.json", rows))
    assert questions[0].text == (
        "Which?\nAnswer with the option's letter from the given choices directly."
    )
    answers = answers_to(tmp_path / "q.json", "A. x", "C")
    assert score("scienceqa", questions, answers, tmp_path) == {
        "questions": 2,
        "accuracy": pytest.approx(100 / 3),
        "image_questions": 2,
        "image_accuracy": 50,
    }


def test_mme(tmp_path: Path) -> None:
    """One category has its text files beside the images, the other in a separate folder."""
    truth = "Is it red? Please answer yes or no.\tYes\nIs it blue?  Please answer yes or no.\tNo\n"
    (tmp_path / "color").mkdir()
    (tmp_path / "color" / "1.txt").write_text(truth)
    inner = tmp_path / "posters" / "questions_answers_YN"
    inner.mkdir(parents=True)
    (inner / "2.txt").write_text(truth)
    rows = [
        {"question_id": image, "image": image, "text": f"Is it {colour}?{SHORT}"}
        for image in ("color/1.jpg", "posters/2.png")
        for colour in ("red", "blue")
    ]
    questions = lines(tmp_path / "q.jsonl", rows)
    answers = answers_to(questions, "Yes", "No", "yes", "Yes")
    assert score("mme", read_questions(questions), answers, tmp_path) == {
        "questions": 4,
        "color": 200,
        "posters": 50,
        "perception": 250,
        "cognition": 0,
    }


def own(folder: Path) -> Path:
    rows = [
        {"question_id": n, "image": "a.png", "text": f"{ask}?", "category": ask, "answer": answer}
        for n, (ask, answer) in enumerate((("colour", "red"), ("colour", "blue"), ("count", "3")))
    ]
    return lines(folder / "q.jsonl", rows)


def test_custom_questions_are_scored_by_category(tmp_path: Path) -> None:
    folder = images(tmp_path, "a.png")
    figures = evaluate(
        says("Red.", "green", "3"), "imp", own(tmp_path), folder, "exact", None, tmp_path
    )
    assert figures == {
        "questions": 3,
        "accuracy": pytest.approx(200 / 3),
        "colour.accuracy": 50,
        "count.accuracy": 100,
    }


def test_a_blind_model_gets_grey_images(tmp_path: Path) -> None:
    seen: list[Image.Image] = []

    def model(image: Image.Image | None, question: str) -> str:
        assert image is not None
        seen.append(image)
        return "red"

    folder = images(tmp_path, "a.png")
    evaluate(model, "imp", own(tmp_path), folder, "exact", None, tmp_path, blind=True)
    assert {image.size for image in seen} == {photo(0).size}
    assert seen[0].getcolors() == [(96 * 72, (127, 127, 127))]


def test_mismatched_annotations_fail_before_the_first_answer(tmp_path: Path) -> None:
    def model(image: Image.Image | None, question: str) -> str:
        raise AssertionError("the model was called")

    questions = own(tmp_path)
    with pytest.raises(UserError, match="give --annotations"):
        evaluate(model, "imp", questions, tmp_path, "pope", None, tmp_path)
    with pytest.raises(UserError, match="name one of textvqa, pope, scienceqa, mme, exact"):
        evaluate(model, "imp", questions, tmp_path, "vqav2", None, tmp_path)
    lines(tmp_path / "q.jsonl", [{"question_id": 1, "text": "What?"}])
    with pytest.raises(UserError, match="question 1 has no 'answer'"):
        evaluate(model, "imp", questions, tmp_path, "exact", None, tmp_path)
    lines(tmp_path / "q.jsonl", [{"text": "What?"}])
    with pytest.raises(UserError, match="record 0: has no 'question_id'"):
        evaluate(model, "imp", questions, tmp_path, "exact", None, tmp_path)


def test_answers_to_other_questions_are_refused(tmp_path: Path) -> None:
    questions = own(tmp_path)
    write_answers(tmp_path / "answers.jsonl", [Answer(7, "", "red")], "imp")
    with pytest.raises(UserError, match="the ids of 1 answers and 3 questions do not match"):
        score_answers(tmp_path / "answers.jsonl", questions, "exact", None, tmp_path)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="question 0: its image cannot be read"):
        evaluate(says("red"), "imp", own(tmp_path), tmp_path, "exact", None, tmp_path)


def test_the_command_scores_existing_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, answers = own(tmp_path), tmp_path / "a.jsonl"
    write_answers(answers, answers_to(questions, "red", "red", "3"), "imp")
    given = ("evaluate", "--questions", questions, "--out", tmp_path / "out")
    ran = Ran(capsys, *given, "--answers", answers)
    assert [line.split() for line in ran.out.splitlines()] == [
        ["questions", "3"],
        ["accuracy", "66.67"],
        ["colour.accuracy", "50.00"],
        ["count.accuracy", "100.00"],
    ]
    assert (tmp_path / "out" / "scores.json").is_file()
    ran = Ran(capsys, *given)
    assert ran.status == 1
    assert "give the folder of a model, or --answers FILE" in ran.err


@pytest.mark.skipif(not REAL.is_dir(), reason="IMP_REAL_DATA names no folder")
def test_textvqas_real_questions_match_its_real_annotations() -> None:
    """LLaVA's file with its OCR tokens; 5,000 questions with the first annotator's answers."""
    questions = read_questions(REAL / "benchmarks" / "bunny_textvqa_val_v051_ocr.jsonl")
    file = REAL / "textvqa" / "textvqa_val_records.jsonl"
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    first = [Answer(q.id, q.text, r["answers"][0]) for q, r in zip(questions, records, strict=True)]
    none = [Answer(q.id, q.text, "") for q in questions]
    figures = score("textvqa", questions, first, file)
    # The M4C evaluator's own score of these answers.
    assert figures == {"questions": 5000, "accuracy": pytest.approx(87.144)}
    assert score("textvqa", questions, none, file)["accuracy"] < 1
