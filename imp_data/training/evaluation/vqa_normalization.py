"""Normalize answers for comparison, as the VQA evaluation does.

The rules are those of the VQA server as TextVQA's M4C evaluator implements them
(facebookresearch/mmf, pythia/tasks/processors.py, EvalAIAnswerProcessor), including its oddities,
since published scores depend on them: contractions get their apostrophe, number words become
digits, articles and most punctuation are removed.
"""

import re

_DIGITS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"(?<=\d)(\,)+(?=\d)")
_PERIOD = re.compile(r"\.(?!\d)")
# The original passes re.UNICODE as the parameter `count`.
_MOST_PERIODS = int(re.UNICODE)

# Contractions with one apostrophe, which may be missing.
_SINGLE = """
    ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd
    how'll how's isn't it'd it'll ma'am might've mightn't must've mustn't needn't not've o'clock
    oughtn't shan't should've shouldn't somebody'll somebody's someone'd someone'll someone's
    something'd something'll that's there'd there're there's they'd they'll they're they've 'twas
    wasn't we've weren't what'll what're what's what've when's where'd where's where've who'd who'll
    who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
# Contractions with two apostrophes, either of which may be missing.
_DOUBLE = """
    couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've someone'd've
    something'd've there'd've they'd've we'd've who'd've wouldn't've you'd've
"""
# Irregular entries, as published.
_ODD = {
    "ow's'at": "'ow's'at",
    "'ows'at": "'ow's'at",
    "'ow'sat": "'ow's'at",
    "somebody'd": "somebodyd",
    "somebodyd've": "somebody'd've",
    "somebody'dve": "somebody'd've",
    "yall'll": "y'all'll",
    "y'allll": "y'all'll",
    "yall'd've": "y'all'd've",
    "y'alld've": "y'all'd've",
    "y'all'dve": "y'all'd've",
}


def _drop_apostrophe(word: str, number: int) -> str:
    """Return the word without one of its apostrophes."""
    parts = word.split("'")
    return "'".join([*parts[:number], parts[number] + parts[number + 1], *parts[number + 2 :]])


CONTRACTIONS = {
    **{word.replace("'", ""): word for word in _SINGLE.split()},
    **{_drop_apostrophe(word, number): word for word in _DOUBLE.split() for number in (0, 1)},
    **_ODD,
}


def normalize_answer(answer: str) -> str:
    """Return an answer in the normalized form of the VQA evaluation."""
    text = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = _remove_marks(text.replace("\n", " ").replace("\t", " ").strip())
    words = [_DIGITS.get(word, word) for word in text.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _remove_marks(text: str) -> str:
    """Remove a mark next to a space; replace one within a word by a space."""
    number = _COMMA_IN_NUMBER.search(text) is not None
    left = text
    for mark in _MARKS:
        beside = f"{mark} " in text or f" {mark}" in text
        left = left.replace(mark, "" if beside or number else " ")
    return _PERIOD.sub("", left, count=_MOST_PERIODS)
