"""Bring the wordings of other publishers back to LLaVA's; only if a source's manifest asks.

the_cauldron, and what is made of it, ends a question of short answer in one of 18 phrases, and
begins the answer with a capital and ends it with a full stop (huggingface/smollm, a0417598,
build_ds_sft.py: PROMPTS_ANSWER_SHORTLY, QUESTION_BRIEVETY_HINT, correct_casing). What this loses:
a full stop of the answer's own goes too (`U.S.` becomes `U.S`), and the case stays as the_cauldron
has it, which is lower after the first letter (`New york`).
"""

import re
from collections.abc import Iterable

from imp_data.ledger import AppliedRepair, Repair
from imp_data.records.forms.base import Turn
from imp_data.sample import IMAGE_TOKEN, OPTION_LETTER_SUFFIX, SHORT_ANSWER_SUFFIX

# PROMPTS_ANSWER_SHORTLY: VQAv2, OK-VQA, COCO-QA, GQA, ChartQA, Infographic-VQA.
_ANSWER_SHORTLY = (
    "Give a very brief answer.",
    "Answer briefly.",
    "Write a very short answer.",
    "Quick response, please.",
    "Short answer required.",
    "Keep it brief.",
    "Concise answer only.",
    "Be succinct.",
)
# QUESTION_BRIEVETY_HINT: DVQA, DocVQA, TextVQA, OCR-VQA and others. One ends in a space upstream.
_BREVITY_HINT = (
    "Make the answer very short.",
    "Give a very brief answer.",
    "Your answer should be very brief.",
    "Offer a terse response.",
    "Provide a succinct answer.",
    "Keep it short and to the point.",
    "Ensure brevity in your answer. ",
    "Offer a very short reply.",
    "Your response must be concise.",
    "Your answer should be compact.",
    "Provide a short and direct response.",
)
# VSR and others.
_YES_OR_NO = ("Answer yes or no.",)
BREVITY_PHRASES = tuple(dict.fromkeys((*_ANSWER_SHORTLY, *_BREVITY_HINT, *_YES_OR_NO)))
# AI2D, A-OKVQA, ScienceQA, Visual7W and others.
LETTER_PHRASE = "Answer with the letter."

_SUFFIXES = (SHORT_ANSWER_SUFFIX, OPTION_LETTER_SUFFIX)
_ANY_PHRASE = "|".join(re.escape(phrase.strip()) for phrase in BREVITY_PHRASES)
_SHORT_QUESTION = re.compile(rf"\n(?:{_ANY_PHRASE})\s*$")
_LETTER_QUESTION = re.compile(rf"\n{re.escape(LETTER_PHRASE)}\s*$")
_QUESTION_LABEL = re.compile(rf"^((?:{IMAGE_TOKEN}\s*)*)Question: ")
_CHOICES_LABEL = re.compile(r"\nChoices:\n")
_LETTER_ANSWER = re.compile(r"^Answer: ([A-Z])\.?$")


def restore_llava_wording(turns: Iterable[Turn]) -> tuple[list[Turn], list[AppliedRepair]]:
    """Return the turns with LLaVA's wordings, and repairs with the first texts before.

    A brevity phrase becomes LLaVA's suffix for short answers, and the answer loses one final full
    stop. A question with lettered choices gets LLaVA's suffix for options, without the labels
    `Question:` and `Choices:`, and its answer `Answer: B` becomes `B`. Of several questions that
    get the same suffix, the first alone keeps it.
    """
    stated = list(turns)
    restored = list[Turn]()
    trim: re.Pattern[str] | None = None
    for speaker, text in stated:
        if speaker == "human":
            text, trim = _restore_question(text)
        elif speaker == "gpt" and trim is not None:
            text, trim = trim.sub(r"\1", text), None
        restored.append((speaker, text))
    restored = keep_first_suffixes(restored)
    before: dict[Repair, str] = {}
    for (speaker, text), (_, changed) in zip(stated, restored, strict=True):
        if changed != text:
            repair = Repair.WORDING_REPLACED if speaker == "human" else Repair.ANSWER_TRIMMED
            before.setdefault(repair, text)
    return restored, [AppliedRepair(repair, text) for repair, text in before.items()]


def keep_first_suffixes(turns: Iterable[Turn], seen: set[str] | None = None) -> list[Turn]:
    """Return the turns with each of LLaVA's suffixes on the first question alone that has it.

    LLaVA's own data is so: llava_v1_5_mix665k.json states how to answer once in a conversation.
    `seen` are the suffixes of earlier turns; those found are added.
    """
    kept = list[Turn]()
    seen = set() if seen is None else seen
    for speaker, text in turns:
        suffix = next((one for one in _SUFFIXES if speaker == "human" and text.endswith(one)), "")
        kept.append((speaker, text.removesuffix(suffix) if suffix in seen else text))
        seen |= {suffix} - {""}
    return kept


_FULL_STOP = re.compile(r"^(.*[^.])\.$", re.DOTALL)


def _restore_question(text: str) -> tuple[str, re.Pattern[str] | None]:
    """Return the question, and what to find in its answer; the first group stays."""
    if _SHORT_QUESTION.search(text):
        return _SHORT_QUESTION.sub(SHORT_ANSWER_SUFFIX, text), _FULL_STOP
    if _LETTER_QUESTION.search(text):
        plain = _CHOICES_LABEL.sub("\n", _QUESTION_LABEL.sub(r"\1", text), count=1)
        return _LETTER_QUESTION.sub(OPTION_LETTER_SUFFIX, plain), _LETTER_ANSWER
    return text, None
