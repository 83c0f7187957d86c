"""The benchmarks' own measures, on answers as plain values."""

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


def textvqa_score(answer: str, people: Sequence[str]) -> float:
    """0 to 1: of ten people's answers, a third of how many others said the same (M4C evaluator).

    Averaged over leaving each of the ten out, so that three of ten score 0.9.
    """
    said = normalize_answer(answer)
    others = [normalize_answer(one) for one in people]
    equal = sum(one == said for one in others)
    if not equal:
        return 0.0
    left_out = [min(1.0, (equal - (one == said)) / 3) for one in others]
    return sum(left_out) / len(left_out)


class Detection(NamedTuple):
    """POPE's figures of one category, "yes" being positive."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    yes_share: float


def pope_says_yes(answer: str) -> bool:
    """LLaVA's eval_pope.py: no if the first sentence has the word "no", "No" or "not"."""
    words = answer.split(".")[0].replace(",", "").split(" ")
    return not {"No", "not", "no"} & set(words)


def pope(answers: Sequence[str], labels: Sequence[bool]) -> Detection:
    """Of yes-or-no answers. A share of nothing is 0; the original divides by zero there."""
    found = [pope_says_yes(answer) for answer in answers]
    pairs = list(zip(found, labels, strict=True))
    hits = sum(said and true for said, true in pairs)
    precision, recall = _share(hits, sum(found)), _share(hits, sum(labels))
    return Detection(
        accuracy=_share(sum(said == true for said, true in pairs), len(pairs)),
        precision=precision,
        recall=recall,
        f1=_share(2 * precision * recall, precision + recall),
        yes_share=_share(sum(found), len(found)),
    )


def option(answer: str) -> str | None:
    """The letter that an answer to a multiple-choice question names (LLaVA's eval_science_qa.py).

    It is "B", begins with "B. ", or says "The answer is B." once.
    """
    if len(answer) == 1 and answer in OPTIONS:
        return answer
    if len(answer) >= 3 and answer[0] in OPTIONS and answer[1:3] == ". ":
        return answer[0]
    named = re.findall(r"The answer is ([A-Z]).", answer)
    return named[0] if len(named) == 1 else None


def chosen(answer: str, choices: int) -> int | None:
    """The number of the choice that an answer names; None if it names none of those there are."""
    letter = option(answer)
    if letter is None or letter not in OPTIONS[:choices]:
        return None
    return OPTIONS.index(letter)


def mme_label(answer: str) -> str:
    """yes, no or other, by the first four characters, as MME's calculation.py reads an answer."""
    beginning = answer.lower()[:4]
    return next((word for word in ("yes", "no") if word in beginning), "other")


def mme(tasks: Mapping[str, Sequence[tuple[bool, bool]]]) -> dict[str, float]:
    """Scores by task, and the two groups' sums.

    A task's images come with two questions each, given here as (first is right, second is
    right); its score is the percentage of right answers and that of images with both right.
    """
    scores = {}
    for task, images in tasks.items():
        right = _share(sum(map(sum, images)), 2 * len(images))
        both = _share(sum(map(all, images)), len(images))
        scores[task] = 100 * right + 100 * both
    for group, names in MME_TASKS.items():
        scores[group] = sum(scores.get(name, 0.0) for name in names)
    return scores


def exact(answer: str, expected: str) -> bool:
    """Whether a short answer is the expected one; case, a final period and blanks do not count."""
    return _plain(answer) == _plain(expected)


def _plain(answer: str) -> str:
    return answer.strip().removesuffix(".").strip().casefold()


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
