"""Known ways in which copies of a question differ from it, to measure what the matcher finds."""

import re
from collections.abc import Callable, Sequence

from imp_data.sample import OPTION_LETTER_SUFFIX, SHORT_ANSWER_SUFFIX

# One word of each pair may stand for the other in a question about an image.
SYNONYMS = (
    *(("picture", "image"), ("photo", "photograph"), ("kind", "type"), ("color", "colour")),
    *(("brand", "make"), ("written", "printed"), ("shown", "displayed"), ("person", "individual")),
    *(("say", "read"), ("located", "situated"), ("company", "firm"), ("last", "final")),
    *(("car", "automobile"), ("movie", "film"), ("bottle", "flask"), ("called", "named")),
    *(("word", "term"), ("what", "which"), ("big", "large"), ("small", "little")),
)
_SYNONYM = {word: other for pair in SYNONYMS for word, other in (pair, pair[::-1])}
_WORD = re.compile(r"[A-Za-z]+")
_PHRASE = re.compile(r"^(.*\S)\s+((?:in|on|at|for|from|with|by|to)\s+[^?]+)\?\s*$", re.S)

# Each returns the altered question, or None if it does not apply.
Rewording = Callable[[str], str | None]


def replace_word(question: str) -> str | None:
    """Replace the last word that has a synonym."""
    for match in reversed(list(_WORD.finditer(question))):
        if other := _SYNONYM.get(match[0].lower()):
            return question[: match.start()] + other + question[match.end() :]
    return None


def move_phrase(question: str) -> str | None:
    """Put the last phrase that begins with a preposition first: On the bus, what is written?"""
    match = _PHRASE.match(question)
    return f"{match[2]}, {match[1]}?" if match else None


REWORDINGS: dict[str, Rewording] = {
    "verbatim": lambda question: question,
    "case and punctuation": lambda question: question.upper().rstrip("?. ") + " ?!",
    "LLaVA's short answer": lambda question: f"<image>\n{question}{SHORT_ANSWER_SUFFIX}",
    "the_cauldron's brevity": lambda question: f"{question}\nKeep it short and to the point.",
    "Question: … Answer:": lambda question: f"Question: {question}\nAnswer:",
    "token at the end": lambda question: f"{question}\n<image>",
    "one word replaced": replace_word,
    "phrase moved": move_phrase,
    "within a longer turn": lambda question: f"Look closely. {question} Explain your answer.",
}


def ask_with_options(question: str, options: Sequence[str], style: int) -> str:
    """Return a question with its options in one of four ways of labelling."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    labelled = {
        0: [f"{letter}. {one}" for letter, one in zip(letters, options, strict=False)],
        1: [f"({letter}) {one}" for letter, one in zip(letters.lower(), options, strict=False)],
        2: [f"{number}) {one}" for number, one in enumerate(options, 1)],
    }
    if style not in labelled:
        return f"Question: {question}\nOptions: {', '.join(options)}\nAnswer:"
    return f"{question}\n" + "\n".join(labelled[style]) + OPTION_LETTER_SUFFIX
