"""Score answers against a benchmark's official annotation files."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.sample import SHORT_ANSWER_SUFFIX
from imp_data.storage.json_files import read_json_object
from imp_data.storage.small_files import read_small_text
from imp_data.training.evaluation.json_rows import read_rows
from imp_data.training.evaluation.metrics import (
    is_exact_match,
    mme_label,
    mme_scores,
    parse_choice,
    pope_metrics,
    textvqa_score,
)
from imp_data.training.evaluation.questions import Answer, Question

Scores = dict[str, float]
AnsweredQuestions = Sequence[tuple[Question, Answer]]

_OCR = "Reference OCR token:"
_YES_OR_NO = "Please answer yes or no."


def score(
    benchmark: str, questions: Sequence[Question], answers: Sequence[Answer], files: Path | None
) -> Scores:
    """Return the benchmark's scores; `files` are its annotations: see docs/training.md.

    Answers must be in the order of the questions, as every evaluation script of LLaVA writes them:
    ids are not unique in TextVQA and MME.
    """
    if benchmark not in SCORERS:
        known = ", ".join(SCORERS)
        raise UserError("--benchmark", f"is {benchmark!r}", f"name one of {known}")
    if [question.id for question in questions] != [answer.id for answer in answers]:
        raise UserError(
            "answers",
            f"the ids of {len(answers):,} answers and {len(questions):,} questions do not match",
            "give the complete question file that was answered",
        )
    if files is None and benchmark != "exact":
        raise UserError(benchmark, "needs its annotation files", "give --annotations")
    return SCORERS[benchmark](list(zip(questions, answers, strict=True)), files or Path())


def score_textvqa(pairs: AnsweredQuestions, file: Path) -> Scores:
    """Score TextVQA with TextVQA_0.5.1_val.json, as LLaVA's eval_textvqa.py does."""
    references = {
        (row["image_id"], row["question"].lower()): row["answers"] for row in read_rows(file)
    }
    total = 0.0
    for question, answer in pairs:
        key = question.id, _textvqa_question(question.text)
        if key not in references:
            raise UserError(file, f"has no answers to {key[1]!r} on {key[0]}", _OTHER_FILE)
        total += textvqa_score(answer.text, references[key])
    return {"questions": len(pairs), "accuracy": 100 * total / len(pairs)}


def _textvqa_question(text: str) -> str:
    """Return the question without the OCR tokens before or after it, and without the suffix."""
    return next(line for line in text.split("\n") if not line.startswith(_OCR)).lower()


def score_pope(pairs: AnsweredQuestions, folder: Path) -> Scores:
    """Score POPE with coco_pope_{random,popular,adversarial}.json, as LLaVA's eval_pope.py does.

    `f1` is the mean over the categories, as papers report it.
    """
    categories: dict[str, list[tuple[Question, Answer]]] = defaultdict(list)
    for question, answer in pairs:
        categories[question.category].append((question, answer))
    figures: Scores = {"questions": len(pairs)}
    f1s = []
    for name, some in sorted(categories.items()):
        found = pope_metrics([answer.text for _, answer in some], _pope_labels(folder, name, some))
        figures |= {f"{name}.{field}": value for field, value in found._asdict().items()}
        f1s.append(found.f1)
    return {**figures, "f1": sum(f1s) / len(f1s)}


def _pope_labels(folder: Path, category: str, pairs: AnsweredQuestions) -> list[bool]:
    """Return labels in the order of the questions. Raise UserError if the questions differ."""
    path = folder / f"coco_pope_{category}.json"
    rows = read_rows(path)
    labelled = [row["text"] for row in rows]
    if labelled != [question.text.removesuffix(SHORT_ANSWER_SUFFIX) for question, _ in pairs]:
        problem = f"its {len(rows):,} questions differ from the {len(pairs):,} answered, in order"
        raise UserError(path, problem, _OTHER_FILE)
    return [row["label"] != "no" for row in rows]


def score_scienceqa(pairs: AnsweredQuestions, folder: Path) -> Scores:
    """Score ScienceQA with problems.json and pid_splits.json, as LLaVA's eval_science_qa.py does.

    Unanswered questions count as wrong in `accuracy`. `image_accuracy`, SQA-IMG in papers, is the
    accuracy on answered questions with an image.
    """
    problems, splits = (
        _read_annotations(folder / "problems.json"),
        _read_annotations(folder / "pid_splits.json"),
    )
    answers = {str(question.id): answer.text for question, answer in pairs}
    if unknown := sorted(answers.keys() - set(splits["test"])):
        raise UserError(folder, f"question {unknown[0]} is not in the test split", _OTHER_FILE)
    right = {
        pid: parse_choice(answers.get(pid, ""), len(problems[pid]["choices"]))
        == problems[pid]["answer"]
        for pid in splits["test"]
    }
    with_image = [right[pid] for pid in right if pid in answers and problems[pid].get("image")]
    return {
        "questions": len(pairs),
        "accuracy": 100 * sum(right.values()) / len(right),
        "image_questions": len(with_image),
        "image_accuracy": 100 * sum(with_image) / len(with_image) if with_image else 0.0,
    }


def score_mme(pairs: AnsweredQuestions, folder: Path) -> Scores:
    """Score MME with MME_Benchmark_release_version.

    The rules are LLaVA's convert_answer_to_mme.py and MME's calculation.py.
    """
    images: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for question, answer in pairs:
        category, name = str(question.id).split("/")[0], str(question.id).split("/")[-1]
        expected = _mme_answers(folder, category, name.split(".")[0])
        key = _mme_question(question.text)
        if key not in expected:
            raise UserError(folder, f"has no answer to {key!r} on {question.id}", _OTHER_FILE)
        images[category][name].append(mme_label(answer.text) == expected[key])
    tasks: dict[str, list[tuple[bool, bool]]] = {}
    for category, by_name in images.items():
        for name, right in by_name.items():
            if len(right) != 2:
                problem = f"{category}/{name} has {len(right)} answered questions instead of two"
                raise UserError(folder, problem, "answer the whole question file")
        tasks[category] = [(right[0], right[1]) for right in by_name.values()]
    return {"questions": len(pairs), **mme_scores(tasks)}


def _mme_answers(folder: Path, category: str, name: str) -> dict[str, str]:
    inner = folder / category / "questions_answers_YN"
    path = (inner if inner.is_dir() else folder / category) / f"{name}.txt"
    lines = read_small_text(path, _MOST_ANSWER_BYTES, _OTHER_FILE).splitlines()
    pairs = [line.strip().split("\t") for line in lines if line.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise UserError(path, "has a line that is not question, tab, answer", _OTHER_FILE)
    return {_mme_question(question): answer.strip().lower() for question, answer in pairs}


def _mme_question(text: str) -> str:
    """Return the question alone: files differ in blanks and in the suffix about yes or no."""
    for words in (SHORT_ANSWER_SUFFIX.strip(), _YES_OR_NO):
        text = text.replace(words, " ")
    return " ".join(text.split())


def score_exact(pairs: AnsweredQuestions, _: Path) -> Scores:
    """Score a custom question file by exact match with its field `answer`, or any of its list."""
    categories: dict[str, list[bool]] = defaultdict(list)
    for question, answer in pairs:
        if not question.expected:
            problem = f"question {question.id} has no 'answer'"
            raise UserError("questions", problem, "add the expected answer to the question file")
        categories[question.category].append(
            any(is_exact_match(answer.text, expected) for expected in question.expected)
        )
    every = [right for some in categories.values() for right in some]
    figures: Scores = {"questions": len(pairs), "accuracy": 100 * sum(every) / len(every)}
    for name, some in sorted(categories.items()):
        figures[f"{name}.accuracy"] = 100 * sum(some) / len(some)
    return figures


_MOST_ANSWER_BYTES = 16 << 20


def _read_annotations(path: Path) -> Mapping[str, Any]:
    return read_json_object(path, _OTHER_FILE)


_OTHER_FILE = "name the annotations of the same release as the question file"

SCORERS: dict[str, Callable[[AnsweredQuestions, Path], Scores]] = {
    "textvqa": score_textvqa,
    "pope": score_pope,
    "scienceqa": score_scienceqa,
    "mme": score_mme,
    "exact": score_exact,
}
