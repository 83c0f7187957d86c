"""The benchmarks' metrics, as functions of plain values."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from imp_data.training.evaluation.vqa_normalization import normalize_answer

OPTIONS = "ABCDE"
# MME's calculation.py; LLaVA and Imp report the first group's sum as MME-P.
MME_TASKS = {
    "perception": (
        *("existence", "count", "position", "color", "posters"),
        *("celebrity", "scene", "landmark", "artwork", "OCR"),
    ),
    "cognition": (
        *("commonsense_reasoning", "numerical_calculation"),
        *("text_translation", "code_reasoning"),
    ),
}


def textvqa_score(answer: str, references: Sequence[str]) -> float:
    """Return TextVQA's soft accuracy, 0 to 1, against ten annotators' answers (M4C evaluator).

    It is a third of the number of equal answers, at most 1, averaged over leaving out each
    annotator, so that three of ten score 0.9.
    """
    predicted = normalize_answer(answer)
    others = [normalize_answer(one) for one in references]
    equal = sum(one == predicted for one in others)
    if not equal:
        return 0.0
    left_out = [min(1.0, (equal - (one == predicted)) / 3) for one in others]
    return sum(left_out) / len(left_out)


class PopeMetrics(NamedTuple):
    """POPE's metrics of one category; "yes" is the positive class."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    yes_share: float


def is_pope_yes(answer: str) -> bool:
    """Return whether the first sentence has none of "no", "No", "not" (LLaVA's eval_pope.py)."""
    words = answer.split(".")[0].replace(",", "").split(" ")
    return not {"No", "not", "no"} & set(words)


def pope_metrics(answers: Sequence[str], labels: Sequence[bool]) -> PopeMetrics:
    """Return the metrics of yes-or-no answers. 0/0 is 0; the original raises an error there."""
    found = [is_pope_yes(answer) for answer in answers]
    pairs = list(zip(found, labels, strict=True))
    hits = sum(predicted and true for predicted, true in pairs)
    precision, recall = _ratio(hits, sum(found)), _ratio(hits, sum(labels))
    return PopeMetrics(
        accuracy=_ratio(sum(predicted == true for predicted, true in pairs), len(pairs)),
        precision=precision,
        recall=recall,
        f1=_ratio(2 * precision * recall, precision + recall),
        yes_share=_ratio(sum(found), len(found)),
    )


def parse_option(answer: str) -> str | None:
    """Return the letter of a multiple-choice answer, if any (LLaVA's eval_science_qa.py).

    The answer is "B", begins with "B. ", or contains "The answer is B." once.
    """
    if len(answer) == 1 and answer in OPTIONS:
        return answer
    if len(answer) >= 3 and answer[0] in OPTIONS and answer[1:3] == ". ":
        return answer[0]
    named = re.findall(r"The answer is ([A-Z]).", answer)
    return named[0] if len(named) == 1 else None


def parse_choice(answer: str, choices: int) -> int | None:
    """Return the index of the choice that an answer names; None if it names no valid choice."""
    letter = parse_option(answer)
    if letter is None or letter not in OPTIONS[:choices]:
        return None
    return OPTIONS.index(letter)


def mme_label(answer: str) -> str:
    """Return yes, no or other from the first four characters, as MME's calculation.py does."""
    beginning = answer.lower()[:4]
    return next((word for word in ("yes", "no") if word in beginning), "other")


def mme_scores(tasks: Mapping[str, Sequence[tuple[bool, bool]]]) -> dict[str, float]:
    """Return the score of each task, and the sums of the two groups.

    Each image of a task has two questions, given as (first is right, second is right). A task's
    score is the percentage of right answers plus the percentage of images with both right.
    """
    scores = {}
    for task, images in tasks.items():
        right = _ratio(sum(map(sum, images)), 2 * len(images))
        both = _ratio(sum(map(all, images)), len(images))
        scores[task] = 100 * right + 100 * both
    for group, names in MME_TASKS.items():
        scores[group] = sum(scores.get(name, 0.0) for name in names)
    return scores


def is_exact_match(answer: str, expected: str) -> bool:
    """Return whether an answer is the expected one, ignoring case, blanks and a final period."""
    return _normalize(answer) == _normalize(expected)


def _normalize(answer: str) -> str:
    return answer.strip().removesuffix(".").strip().casefold()


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
