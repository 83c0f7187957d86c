"""Excerpts of records for previews of rules: the match of an expression, or the first answer."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from imp_data.manifests import Exclusion, ExclusionRule
from imp_data.screening.exclusion_rules import split_at_match

_CONTEXT_CHARACTERS = 40
_MAX_CHARACTERS = 120


def excerpt(turns: Sequence[dict[str, Any]], rule: Exclusion | ExclusionRule) -> str:
    """Return one line of a record: the text around a match, else the first question and answer."""
    if isinstance(rule, ExclusionRule) and rule.text is not None:
        wanted = {"questions": "human", "answers": "gpt"}.get(rule.text.side)
        texts = pa.array([t["value"] for t in turns if wanted in (None, t["from"])], pa.string())
        matching = texts.filter(pc.match_substring_regex(texts, rule.text.pattern)).slice(0, 1)
        for before, match, after in split_at_match(matching, rule.text.pattern):
            start = before[-_CONTEXT_CHARACTERS:]
            end = after[:_CONTEXT_CHARACTERS]
            dots = "…" * (start != before), "…" * (end != after)
            return _one_line(f"{dots[0]}{start}«{match[:_MAX_CHARACTERS]}»{end}{dots[1]}")
    question, answer = (_shorten(turn["value"]) for turn in turns[:2])
    return f"{question} → {answer}"


def _shorten(text: str) -> str:
    text = _one_line(text.removeprefix("<image>"))
    half = _MAX_CHARACTERS // 2
    return text if len(text) <= half else f"{text[:half]}…"


def _one_line(text: str) -> str:
    return " ".join(text.split())
