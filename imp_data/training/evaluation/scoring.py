"""A benchmark's official files and its measure: what a model's answers come to."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.sample import SHORT_ANSWER_SUFFIX
from imp_data.storage.json_files import json_object
from imp_data.storage.small_files import small_text
from imp_data.training.evaluation.json_rows import read_rows
from imp_data.training.evaluation.metrics import chosen, exact, mme, mme_label, pope, textvqa_score
from imp_data.training.evaluation.questions import Answer, Question

Figures = dict[str, float]
Asked = Sequence[tuple[Question, Answer]]

_OCR = "Reference OCR token:"
_YES_OR_NO = "Please answer yes or no."


def score(
    benchmark: str, questions: Sequence[Question], answers: Sequence[Answer], files: Path | None
) -> Figures:
    """The benchmark's figures. `files` is where its annotations are: see docs/training.md.

    Answers stand in the questions' order, as every evaluation script of LLaVA writes them: ids are
    not unique in TextVQA and MME.
    """
    if benchmark not in SCORES:
        known = ", ".join(SCORES)
        raise UserError("--benchmark", f"is {benchmark!r}", f"name one of {known}")
    if [question.id for question in questions] != [answer.id for answer in answers]:
        raise UserError(
            "answers",
            f"{len(answers):,} answers are not those to these {len(questions):,} questions",
            "give the question file that was answered, whole",
        )
    if files is None and benchmark != "exact":
        raise UserError(benchmark, "has its answers in files of its own", "name --annotations")
    return SCORES[benchmark](list(zip(questions, answers, strict=True)), files or Path())


def score_textvqa(asked: Asked, file: Path) -> Figures:
    """TextVQA_0.5.1_val.json; LLaVA's eval_textvqa.py."""
    people = {(row["image_id"], row["question"].lower()): row["answers"] for row in read_rows(file)}
    total = 0.0
    for question, answer in asked:
        key = question.id, _textvqa_question(question.text)
        if key not in people:
            raise UserError(file, f"has no answers to {key[1]!r} on {key[0]}", _OTHER_FILE)
        total += textvqa_score(answer.text, people[key])
    return {"questions": len(asked), "accuracy": 100 * total / len(asked)}


def _textvqa_question(text: str) -> str:
    """Without the OCR tokens that stand before or after it, and without the suffix."""
    return next(line for line in text.split("\n") if not line.startswith(_OCR)).lower()


def score_pope(asked: Asked, folder: Path) -> Figures:
    """A folder with coco_pope_{random,popular,adversarial}.json; LLaVA's eval_pope.py.

    `f1` is the mean over the categories, as papers report it.
    """
    categories: dict[str, list[tuple[Question, Answer]]] = defaultdict(list)
    for question, answer in asked:
        categories[question.category].append((question, answer))
    figures: Figures = {"questions": len(asked)}
    f1s = []
    for name, some in sorted(categories.items()):
        found = pope([answer.text for _, answer in some], _pope_labels(folder, name, some))
        figures |= {f"{name}.{field}": value for field, value in found._asdict().items()}
        f1s.append(found.f1)
    return {**figures, "f1": sum(f1s) / len(f1s)}


def _pope_labels(folder: Path, category: str, asked: Asked) -> list[bool]:
    """Labels in the order of the questions, to which they must belong."""
    path = folder / f"coco_pope_{category}.json"
    rows = read_rows(path)
    labelled = [row["text"] for row in rows]
    if labelled != [question.text.removesuffix(SHORT_ANSWER_SUFFIX) for question, _ in asked]:
        problem = f"its {len(rows):,} questions are not the {len(asked):,} asked, in their order"
        raise UserError(path, problem, _OTHER_FILE)
    return [row["label"] != "no" for row in rows]


def score_scienceqa(asked: Asked, folder: Path) -> Figures:
    """A folder with problems.json and pid_splits.json; LLaVA's eval_science_qa.py.

    What was not asked counts as wrong in `accuracy`. `image_accuracy`, SQA-IMG of the papers, is
    that of the questions with an image.
    """
    problems, splits = _object(folder / "problems.json"), _object(folder / "pid_splits.json")
    said = {str(question.id): answer.text for question, answer in asked}
    if strangers := sorted(said.keys() - set(splits["test"])):
        raise UserError(folder, f"question {strangers[0]} is not of the test split", _OTHER_FILE)
    right = {
        pid: chosen(said.get(pid, ""), len(problems[pid]["choices"])) == problems[pid]["answer"]
        for pid in splits["test"]
    }
    shown = [right[pid] for pid in right if pid in said and problems[pid].get("image")]
    return {
        "questions": len(asked),
        "accuracy": 100 * sum(right.values()) / len(right),
        "image_questions": len(shown),
        "image_accuracy": 100 * sum(shown) / len(shown) if shown else 0.0,
    }


def score_mme(asked: Asked, folder: Path) -> Figures:
    """MME_Benchmark_release_version; LLaVA's convert_answer_to_mme.py and MME's calculation.py."""
    images: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for question, answer in asked:
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
                problem = f"{category}/{name} was asked {len(right)} questions in place of two"
                raise UserError(folder, problem, "ask the whole question file")
        tasks[category] = [(right[0], right[1]) for right in by_name.values()]
    return {"questions": len(asked), **mme(tasks)}


def _mme_answers(folder: Path, category: str, name: str) -> dict[str, str]:
    inner = folder / category / "questions_answers_YN"
    path = (inner if inner.is_dir() else folder / category) / f"{name}.txt"
    lines = small_text(path, _MOST_ANSWER_BYTES, _OTHER_FILE).splitlines()
    pairs = [line.strip().split("\t") for line in lines if line.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise UserError(path, "has a line that is not question, tab, answer", _OTHER_FILE)
    return {_mme_question(question): answer.strip().lower() for question, answer in pairs}


def _mme_question(text: str) -> str:
    """The question alone: the files differ in blanks and in how they ask for yes or no."""
    for words in (SHORT_ANSWER_SUFFIX.strip(), _YES_OR_NO):
        text = text.replace(words, " ")
    return " ".join(text.split())


def score_exact(asked: Asked, _: Path) -> Figures:
    """Questions of one's own: `answer` in the question file is what must be said, word for word;
    of a list of answers, any."""
    categories: dict[str, list[bool]] = defaultdict(list)
    for question, answer in asked:
        if not question.expected:
            problem = f"question {question.id} has no 'answer'"
            raise UserError("questions", problem, "write what is expected into the question file")
        categories[question.category].append(
            any(exact(answer.text, expected) for expected in question.expected)
        )
    every = [right for some in categories.values() for right in some]
    figures: Figures = {"questions": len(asked), "accuracy": 100 * sum(every) / len(every)}
    for name, some in sorted(categories.items()):
        figures[f"{name}.accuracy"] = 100 * sum(some) / len(some)
    return figures


_MOST_ANSWER_BYTES = 16 << 20


def _object(path: Path) -> Mapping[str, Any]:
    return json_object(path, _OTHER_FILE)


_OTHER_FILE = "name the annotations of the release that the question file is of"

SCORES: dict[str, Callable[[Asked, Path], Figures]] = {
    "textvqa": score_textvqa,
    "pope": score_pope,
    "scienceqa": score_scienceqa,
    "mme": score_mme,
    "exact": score_exact,
}
