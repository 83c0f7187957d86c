"""The form in which questions and answers are compared: words, without the wording around them.

Version 1, in this order:

1. NFKC and lower case; image tokens (`<image>`, `<image_1>`, `<|image|>`, `[img]`) removed.
2. The comma between groups of three digits removed: `1,234` is `1234`.
3. Around a question: instructions (`INSTRUCTIONS`), OCR tokens that LLaVA adds, the labels
   `Question:` and `Answer:`, and a `Context:` set apart.
4. Its options set apart, whatever their order and labels (see `options`).
5. Words are runs of letters, digits, the signs + % $ = ^, and a point between two digits. Each Han,
   kana or Hangul character is a word. The numbers zero to twelve are digits.
"""

import re
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from imp_data.records.forms.wording import BREVITY_PHRASES, LETTER_PHRASE
from imp_data.sample import OPTION_LETTER_SUFFIX, SHORT_ANSWER_SUFFIX
from imp_data.screening.decontamination.questions.options import split_options

# A pack states the version; digests of another version are an error.
VERSION = "1"

# Wordings that ask for a form of answer. LLaVA's are in docs/Evaluation.md of haotian-liu/LLaVA;
# the_cauldron's in `records.forms.wording`; the others are prompts of lmms-eval (vqav2, mme,
# ai2d, scienceqa, chartqa, docvqa) and of the POPE and MME files.
INSTRUCTIONS = (
    SHORT_ANSWER_SUFFIX.strip(),
    OPTION_LETTER_SUFFIX.strip(),
    LETTER_PHRASE,
    *(phrase.strip() for phrase in BREVITY_PHRASES),
    "Please answer yes or no.",
    "Answer the question with yes or no.",
    "Please answer the question using a single word or phrase.",
    "Answer the question with a single word.",
    "Answer the question using a single word or phrase from the image.",
    "Answer with the option letter from the given choices directly.",
    "Please select the correct answer from the options above.",
    "Answer the question based on the image.",
    "When the provided information is insufficient, respond with 'Unanswerable'.",
)
NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve"),
)
_NUMBERS = {word: str(number) for number, word in enumerate(NUMBER_WORDS)}

IMAGE_TOKENS = r"(?i)<\|?/?(?:image|img|im)(?:[_ -]?(?:placeholder|start|end|pad))?[_ -]?[0-9]*\|?>"
_BRACKETED = r"(?i)\[(?:image|img)\]"
_THOUSANDS = r"([0-9]),([0-9]{3})([^0-9]|$)"
# RE2, as Arrow applies it: what is neither ASCII nor a letter, a mark or a number.
_FOREIGN_SIGNS = r"[^\x00-\x7f\pL\pM\pN]+"
_IDEOGRAPHS = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}])"
# A text without any of these has no wording around it: its question is the whole text.
_WRAPPED = (
    r"(?i)[\n:]|\([a-j1-9]\)|\b[ab1][.)] |answer|brief|short|concise|succinct|terse|response"
    r"|compact|respond"
)

_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"(?:[0-9a-z+%$=^]|[^\x00-\x7f]|(?<=[0-9])\.(?=[0-9]))+")


def _phrase_pattern(phrase: str) -> str:
    words = re.findall(r"[a-z']+", phrase.lower())
    return r"[\s',]+".join(map(re.escape, words))


_ANY_INSTRUCTION = "|".join(
    sorted({_phrase_pattern(phrase) for phrase in INSTRUCTIONS}, key=lambda p: (-len(p), p))
)
_INSTRUCTION = re.compile(
    rf"(?:(?<=[\n.?!:)])|(?<=^))\s*(?:{_ANY_INSTRUCTION})['\s]*(?:[.?!]+|(?=\n|$))", re.IGNORECASE
)
_OCR_TOKENS = re.compile(r"(?:^|\n)\s*reference ocr tokens?:[^\n]*")
_ANSWER_CUE = re.compile(r"(?:^|[\s.?!])(?:short |the |your )?answer\s*:\s*$")
_CONTEXT = re.compile(
    r"^\s*(?:context|hint|passage)\s*:\s*(.*?)(?=\n\s*(?:question|q)\s*[0-9]*\s*:)", re.S
)
_QUESTION_LABEL = re.compile(r"^\s*(?:question|q)\s*[0-9]*\s*[:.]\s*")


class Question(NamedTuple):
    """A question without its wording: what precedes it, itself, and its options in their order."""

    context: str
    stem: str
    options: tuple[str, ...]

    @property
    def text(self) -> str:
        """The whole question; the order of its options does not show."""
        return " ".join((self.context, self.stem, *sorted(self.options)))


def plain_texts(texts: pa.Array) -> pa.Array:
    """Apply steps 1 and 2 to texts, but for the case of ASCII letters. No text is null."""
    found = pc.match_substring_regex(texts, r"[<\[]")
    if found.true_count:
        for pattern in (IMAGE_TOKENS, _BRACKETED):
            texts = _replace_where(texts, found, pattern, " ")
    ascii_only = pc.string_is_ascii(texts)
    if ascii_only.false_count:
        others = pc.invert(ascii_only)
        some = pc.utf8_lower(pc.utf8_normalize(texts.filter(others), form="NFKC"))
        some = pc.replace_substring_regex(some, _FOREIGN_SIGNS, " ")
        some = pc.replace_substring_regex(some, _IDEOGRAPHS, r" \1 ")
        texts = pc.replace_with_mask(texts, others, some)
    grouped = pc.match_substring_regex(texts, _THOUSANDS)
    for _ in range(2):  # groups that share a digit's neighbour: 1,234,567
        if grouped.true_count:
            texts = _replace_where(texts, grouped, _THOUSANDS, r"\1\2\3")
    return texts


def _replace_where(texts: pa.Array, mask: pa.Array, pattern: str, by: str) -> pa.Array:
    return pc.replace_with_mask(
        texts, mask, pc.replace_substring_regex(texts.filter(mask), pattern, by)
    )


def is_wrapped(texts: pa.Array) -> pa.Array:
    """Return which plain texts may have wording around their question; see `read_question`."""
    return pc.match_substring_regex(texts, _WRAPPED)


def read_question(plain: str) -> Question:
    """Apply steps 3 and 4 to one plain text."""
    text = _OCR_TOKENS.sub("", plain.lower())
    before = None
    while text != before:
        before = text
        text = _ANSWER_CUE.sub("", _INSTRUCTION.sub(" ", text).rstrip())
    context = _CONTEXT.match(text)
    rest = text[context.end() :] if context else text
    stem, options = split_options(_QUESTION_LABEL.sub("", rest))
    return Question(context[1] if context else "", stem, tuple(options))


def read_answer(plain: str) -> str:
    """Return an answer without the label `Answer:`."""
    return re.sub(r"^\s*(?:the )?answer\s*(?:is)?\s*:\s*", "", plain.lower())


def words_of(plain: str) -> list[str]:
    """Apply step 5 to a plain text: its words, as they are hashed."""
    return [_NUMBERS.get(word, word) for word in _WORD.findall(plain.lower())]


def normalized(text: str) -> str:
    """Return the words of a question or an answer with single spaces, options sorted."""
    [plain] = plain_texts(pa.array([text], pa.large_string())).to_pylist()
    return " ".join(words_of(read_question(plain).text))
