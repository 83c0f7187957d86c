"""Find the records that the exclusion rules of a mixture match by text, origin, list or score."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.ledger import Reason, Verdict
from imp_data.manifests import ExclusionRule
from imp_data.manifests.exclusion_rules import AnswerLength, Language, Score, TextPattern
from imp_data.sample import image_column, image_lists
from imp_data.screening.languages import detect_language
from imp_data.screening.rule_files import Keys, ScoreTable, hash_values, read_list, read_scores
from imp_data.storage.sorted_lookup import find_sorted

_COLUMNS = ("id", "subset", "conversations", "upstream_id")
_REASONS = {
    None: Reason.EXCLUDED_BY_ORIGIN,
    "listed": Reason.EXCLUDED_BY_LIST,
    "text": Reason.EXCLUDED_BY_TEXT,
    "answer_length": Reason.EXCLUDED_BY_LENGTH,
    "language": Reason.EXCLUDED_BY_LANGUAGE,
    "score": Reason.EXCLUDED_BY_SCORE,
    "image_size": Reason.EXCLUDED_BY_IMAGE,
}
_MAX_FOUND_CHARACTERS = 200

Mask = npt.NDArray[np.bool_]
Found = dict[int, dict[str, Any]]


def rule_columns(image_column: str) -> list[str]:
    """Return the columns of a records file that rules read; `image_column` is that of images."""
    return [*_COLUMNS, image_column]


class PreparedRule(NamedTuple):
    """A rule, the licence of the source that it is applied to, and what its file holds."""

    rule: ExclusionRule
    license: str
    listed: Keys | None = None
    scores: ScoreTable | None = None

    @property
    def has_file(self) -> bool:
        """Return whether the rule joins a file, which other processes do not have."""
        return self.listed is not None or self.scores is not None

    def verdict(self, evidence: dict[str, Any]) -> Verdict:
        """Return the verdict on a record that the rule matches."""
        reason = _REASONS[self.rule.criterion]
        return Verdict(reason, {"exclusion": self.rule.name, **evidence})


def prepare_rule(rule: ExclusionRule, license: str, file: Path | None) -> PreparedRule:
    """Read the file of a rule, if it has one. Raise UserError if the file is unusable."""
    if rule.listed is not None and file is not None:
        return PreparedRule(rule, license, listed=read_list(file, rule.listed))
    if rule.score is not None and file is not None:
        return PreparedRule(rule, license, scores=read_scores(file, rule.score))
    return PreparedRule(rule, license)


def match_rule(batch: pa.RecordBatch, prepared: PreparedRule) -> Found:
    """Return {row: evidence} for the records of a batch that a rule excludes, in their order.

    `batch` has the columns of `rule_columns`. The result depends on each record alone.
    """
    rule = prepared.rule
    rows = np.arange(len(batch))
    if rule.subsets is not None:
        inside = pc.is_in(batch.column("subset"), pa.array(rule.subsets, pa.string()))
        rows = np.flatnonzero(inside)
        batch = batch.take(pa.array(rows))
    found = _match_criterion(batch, prepared)
    return {int(rows[row]): evidence for row, evidence in found.items()}


def _match_criterion(batch: pa.RecordBatch, prepared: PreparedRule) -> Found:
    rule = prepared.rule
    if rule.text is not None:
        return _match_text(batch, rule.text)
    if rule.answer_length is not None:
        return _match_answer_length(batch, rule.answer_length)
    if rule.language is not None:
        return _match_language(batch, rule.language)
    if rule.listed is not None and prepared.listed is not None:
        return _match_list(batch, rule.listed.of, rule.listed.file, prepared.listed)
    if rule.score is not None and prepared.scores is not None:
        texts = batch.column(rule.score.by)
        return match_scores(texts, rule.score, prepared.scores)
    return _match_origin(batch, prepared)


def _match_origin(batch: pa.RecordBatch, prepared: PreparedRule) -> Found:
    rule = prepared.rule
    license = {"license": prepared.license} if rule.licenses is not None else {}
    if rule.subsets is None:
        return dict.fromkeys(range(len(batch)), license)
    subsets = batch.column("subset").to_pylist()
    return {row: {"subset": subset, **license} for row, subset in enumerate(subsets)}


class _Turns(NamedTuple):
    """The texts of one side, or of both, of a batch's conversations, and the row of each."""

    texts: pa.Array
    rows: npt.NDArray[np.int64]


def _turns(batch: pa.RecordBatch, side: str) -> _Turns:
    conversations = batch.column("conversations")
    texts = conversations.flatten().field("value")
    rows = np.repeat(np.arange(len(batch)), conversations.value_lengths().to_numpy())
    if side == "both":
        return _Turns(texts, rows)
    speaker = "human" if side == "questions" else "gpt"
    wanted = pc.equal(conversations.flatten().field("from"), speaker)
    return _Turns(texts.filter(wanted), rows[wanted.to_numpy(zero_copy_only=False)])


def _match_text(batch: pa.RecordBatch, rule: TextPattern) -> Found:
    turns = _turns(batch, rule.side)
    matching = np.flatnonzero(pc.match_substring_regex(turns.texts, rule.pattern))
    rows, first = np.unique(turns.rows[matching], return_index=True)
    texts = turns.texts.take(pa.array(matching[first]))
    matches = [match for _, match, _ in split_at_match(texts, rule.pattern)]
    return {
        row: {"pattern": rule.pattern, "found": match[:_MAX_FOUND_CHARACTERS]}
        for row, match in zip(rows.tolist(), matches, strict=True)
    }


def split_at_match(texts: pa.Array, pattern: str) -> list[tuple[str, str, str]]:
    """Return for each text what stands before its first match, the match, and what follows.

    The texts contain no NUL: the rules for records remove control characters.
    """
    marked = pc.replace_substring_regex(texts, pattern, "\0\\0\0", max_replacements=1)
    return [_three_parts(text) for text in marked.to_pylist()]


def _three_parts(marked: str) -> tuple[str, str, str]:
    before, _, rest = marked.partition("\0")
    match, _, after = rest.partition("\0")
    return before, match, after


def _match_answer_length(batch: pa.RecordBatch, rule: AnswerLength) -> Found:
    turns = _turns(batch, "answers")
    found: Found = {}
    for unit in ("words", "characters"):
        least, most = getattr(rule, f"min_{unit}"), getattr(rule, f"max_{unit}")
        if least is None and most is None:
            continue
        longest = np.zeros(len(batch), np.int64)
        np.maximum.at(longest, turns.rows, _lengths(turns.texts, unit))
        limits = _limits(least, most)
        for row in _outside(longest, least, most).tolist():
            found.setdefault(row, {"unit": unit, "found": int(longest[row]), **limits})
    return dict(sorted(found.items()))


def _lengths(texts: pa.Array, unit: str) -> npt.NDArray[np.int64]:
    """Return the length of each text; words are separated by white space."""
    lengths = (
        pc.utf8_length(texts)
        if unit == "characters"
        else pc.count_substring_regex(texts, r"[^\s\p{Z}]+")
    )
    counted: npt.NDArray[np.int64] = lengths.to_numpy().astype(np.int64)
    return counted


def _outside(
    values: npt.NDArray[Any], least: float | None, most: float | None
) -> npt.NDArray[np.int64]:
    """Return the places of the values outside the limits; NaN is never outside."""
    outside = np.zeros(len(values), np.bool_)
    if least is not None:
        outside |= values < least
    if most is not None:
        outside |= values > most
    return np.flatnonzero(outside)


def _limits(least: float | None, most: float | None) -> dict[str, Any]:
    return {name: one for name, one in (("min", least), ("max", most)) if one is not None}


def _match_language(batch: pa.RecordBatch, rule: Language) -> Found:
    turns = _turns(batch, rule.side)
    texts: list[list[str]] = [[] for _ in range(len(batch))]
    for row, text in zip(turns.rows.tolist(), turns.texts.to_pylist(), strict=True):
        texts[row].append(text.removeprefix("<image>"))
    found: Found = {}
    for row, some in enumerate(texts):
        text = "\n".join(some).strip()
        if len(text) < rule.min_characters:
            continue
        language, probability = detect_language(text)
        wanted = language in rule.keep if rule.keep else language not in (rule.drop or ())
        if not wanted and probability >= rule.min_probability:
            found[row] = {"found": language}
    return found


def _match_list(batch: pa.RecordBatch, of: str, file: str, listed: Keys) -> Found:
    if of == "image_name":
        images = image_lists(batch.column(image_column(batch.schema.names)))
        rows = np.repeat(np.arange(len(batch)), images.value_lengths().to_numpy())
        values = [image.rsplit("/", 1)[-1] for image in images.flatten().to_pylist()]
    else:
        rows = np.flatnonzero(batch.column(of).is_valid())
        values = batch.column(of).drop_null().to_pylist()
    found: Found = {}
    for place in np.flatnonzero(find_sorted(listed, hash_values(values)) >= 0).tolist():
        found.setdefault(int(rows[place]), {"list": file, "found": values[place]})
    return found


def match_scores(texts: pa.Array, rule: Score, scores: ScoreTable) -> Found:
    """Return {row: evidence} for the scores outside a rule's limits, given what joins each row."""
    values = scores.find(pc.fill_null(texts, "").to_pylist())
    limits = _limits(rule.min, rule.max)
    found: Found = {
        row: {"column": rule.column, "found": float(values[row]), **limits}
        for row in _outside(values, rule.min, rule.max).tolist()
    }
    if rule.without == "drop":
        absent = {"column": rule.column, "found": None, **limits}
        found |= dict.fromkeys(np.flatnonzero(np.isnan(values)).tolist(), absent)
    return dict(sorted(found.items()))


def match_each(
    batch: pa.RecordBatch, rules: Sequence[PreparedRule], decided: Mask
) -> tuple[dict[int, Verdict], dict[str, int]]:
    """Return the verdicts of the first matching rule on undecided rows; count each rule's matches.

    The counts cover decided rows too, so that they do not depend on the order of rules.
    """
    verdicts: dict[int, Verdict] = {}
    counts: dict[str, int] = {}
    for prepared in rules:
        found = match_rule(batch, prepared)
        counts[prepared.rule.name] = len(found)
        for row, evidence in found.items():
            if not decided[row] and row not in verdicts:
                verdicts[row] = prepared.verdict(evidence)
    return verdicts, counts
