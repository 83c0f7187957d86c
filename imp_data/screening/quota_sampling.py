"""Sample a source up to its quota, and write the outcome of each Sample.

Text and paths are checked for every record. Images are opened in sampling order and no further
than the quota needs: a refused image gives its place to the next, so the result is the same as
if all images had been screened before sampling.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.ledger import Outcome, Reason, Verdict, evidence_json
from imp_data.sample import image_column, image_lists
from imp_data.screening.copies import copies_evidence
from imp_data.screening.decision_file import ImageDecisions
from imp_data.screening.image_rules import IMAGE_RULE_REASONS
from imp_data.screening.question_filters import merge_evidence
from imp_data.screening.refusal_table import Refusals, refusals_from_verdicts
from imp_data.screening.sample_images import Mask, SampleImages
from imp_data.screening.text_filters import Candidates, Rows
from imp_data.storage.tables import arrow_names, arrow_writer, read_batches, value_counts

SCREENED_SCHEMA = pa.schema(
    [
        pa.field("sample", pa.int32()),
        pa.field("id", pa.string()),
        pa.field("outcome", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("evidence", pa.string()),
        pa.field("image_sha256", pa.string()),
        pa.field("image_width", pa.int32()),
        pa.field("image_height", pa.int32()),
    ]
)
_IMAGE_COLUMNS = SCREENED_SCHEMA.names[-3:]
_MULTI_IMAGE_SCREENED_SCHEMA = pa.schema(
    pa.field(field.name, pa.list_(field.type)) if field.name in _IMAGE_COLUMNS else field
    for field in SCREENED_SCHEMA
)
# The most images in one round of sampling; bounds memory, changes nothing else.
_MOST_AT_ONCE = 1 << 15


def screened_schema(image_column: str) -> pa.Schema:
    """Return the schema for Samples that have their images in this column."""
    return SCREENED_SCHEMA if image_column == "image" else _MULTI_IMAGE_SCREENED_SCHEMA


class QuotaSample(NamedTuple):
    """The rows that passed, in sampling order, and how many rows of the order were examined.

    `refused` has the examined rows whose image does not pass; `copies` how often each row that
    passed occurs in the mixture, None if each occurs once.
    """

    passed: Rows
    examined: int
    refused: Rows
    copies: npt.NDArray[np.int32] | None = None


def sample_quota(order: Rows, quota: int, passes: Callable[[Rows], Mask]) -> QuotaSample:
    """Take rows in sampling order until the quota is full; `passes` decides the images of rows.

    A round covers no more rows than places are left, so exactly the shortest prefix that fills
    the quota is examined.
    """
    passed: list[Rows] = []
    refused: list[Rows] = []
    left, position = quota, 0
    while left and position < len(order):
        rows = order[position : position + min(left, _MOST_AT_ONCE)]
        mask = passes(rows)
        passing = rows[mask]
        passed.append(passing)
        refused.append(rows[~mask])
        position += len(rows)
        left -= len(passing)
    none = order[:0]
    return QuotaSample(np.concatenate([none, *passed]), position, np.concatenate([none, *refused]))


def image_paths(records: Path, rows: Rows) -> list[list[str]]:
    """Return the images of each row, in the order of the rows; memory holds these rows alone."""
    ascending = np.argsort(rows, kind="stable")
    wanted = rows[ascending]
    found: list[pa.Array] = [pa.array([], pa.list_(pa.string()))]
    first = done = 0
    for batch in read_batches(records, [image_column(arrow_names(records))]):
        until = int(np.searchsorted(wanted, first + len(batch)))
        found.append(image_lists(batch.column(0)).take(pa.array(wanted[done:until] - first)))
        first, done = first + len(batch), until
    back = np.empty(len(rows), np.int64)
    back[ascending] = np.arange(len(rows))
    paths: list[list[str]] = pa.concat_arrays(found).take(pa.array(back)).to_pylist()
    return paths


def write_screened(
    path: Path,
    records: Path,
    candidates: Candidates,
    sampled: QuotaSample,
    decisions: ImageDecisions | None,
) -> dict[str, Any]:
    """Write screened/<source>.arrow, one row for each Sample; return the figures of the stage.

    The file has the batches of the records file, and lists of images where that has them.
    `decisions` is None where images are deferred.
    """
    schema = screened_schema(image_column(arrow_names(records)))
    kept, refused = _outcomes(candidates, sampled, decisions)
    copies = kept.astype(np.int32)
    if sampled.copies is not None:
        copies[sampled.passed] = sampled.copies
    subsets: Counter[str] = Counter()
    questions = candidates.questions
    reports = questions.reports(kept) if questions else {}
    first = 0
    with arrow_writer(path, schema) as writer:
        for batch in read_batches(records, ["id", "subset"]):
            here = slice(first, first + len(batch))
            columns = _outcome_columns(here, batch.column("id"), kept[here], refused)
            images = candidates.images.between(here)
            if decisions is not None and decisions.respelled:
                found = _respelled(images, kept[here], decisions)
                columns[-1] = pc.coalesce(columns[-1], found)
            if sampled.copies is not None:
                columns[-1] = copies_evidence(columns[-1], copies[here])
            if reports:
                reported = range(here.start, here.stop)
                some = {n - first: reports[n] for n in reported if n in reports}
                columns[-1] = merge_evidence(columns[-1], some)
            columns += _image_columns(images, kept[here], decisions, schema)
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            taken = np.repeat(np.arange(len(batch)), copies[here])
            subsets.update(value_counts(batch.column("subset").take(pa.array(taken))))
            first += len(batch)
    figures = _figures(candidates, sampled, refused, subsets, int(copies.sum()))
    if questions:
        figures["questions"] = questions.counts(refused, kept)
    counts = candidates.images.counts[kept]
    of_images = {"images": int(counts.sum()), "with_several": int((counts > 1).sum())}
    return figures if schema is SCREENED_SCHEMA else {**figures, **of_images}


def _figures(
    candidates: Candidates,
    sampled: QuotaSample,
    refused: Sequence[Refusals],
    subsets: Counter[str],
    taken: int,
) -> dict[str, Any]:
    """Return the figures of a stage that takes `taken` Samples, copies included."""
    samples, passed = len(candidates.images.counts), len(sampled.passed)
    dropped = sum((Counter(some.counts()) for some in refused), Counter[str]())
    return {
        "samples": samples,
        "passed": passed,
        "dropped": dict(sorted(dropped.items())),
        "held": samples - passed - dropped.total(),
        "subsets": dict(sorted(subsets.items())),
        "excluded": _exclusion_figures(candidates.refused.values()),
        "matched": _rule_figures(candidates, refused),
        "copies": taken - passed,
    }


def _outcomes(
    candidates: Candidates, sampled: QuotaSample, decisions: ImageDecisions | None
) -> tuple[Mask, list[Refusals]]:
    """Return which rows are kept, and the refusals: those for text first, then those for images."""
    kept = np.zeros(len(candidates.images.counts), np.bool_)
    kept[sampled.passed] = True
    refused = [refusals_from_verdicts(candidates.refused), candidates.excluded.refused]
    if decisions is not None:
        gone = sampled.refused
        by_image = _image_refusals(gone, candidates.images.take(gone), decisions)
        if candidates.questions:
            by_image = candidates.questions.join_refusals(by_image)
        refused.append(by_image)
    return kept, refused


def _image_refusals(gone: Rows, images: SampleImages, decisions: ImageDecisions) -> Refusals:
    """Return the verdict on the first failing image of each row; of several, it has the place."""
    places = images.first_failing(decisions.passing_images(images))
    positions = np.where(images.counts > 1, places - images.bounds[:-1], -1)
    return decisions.refused.for_rows(gone, images.keys[places], positions)


def _outcome_columns(
    here: slice, ids: pa.Array, kept: Mask, refused: Sequence[Refusals]
) -> list[pa.Array]:
    """Return sample, id, outcome, reason and evidence of a range of rows."""
    size = len(kept)
    going = [some.between(here.start, here.start + size) for some in refused]
    codes = np.where(kept, 0, 1)
    for some in going:
        codes[some.keys.astype(np.int64) - here.start] = 2
    words = [(Outcome.KEPT, None), (Outcome.HELD, Reason.OVER_QUOTA), (Outcome.DROPPED, None)]
    outcome, reason = (
        pa.array(column, pa.string()).take(pa.array(codes)) for column in zip(*words, strict=True)
    )
    evidence = pa.nulls(size, pa.string())
    for some in going:
        mask = np.zeros(size, np.bool_)
        mask[some.keys.astype(np.int64) - here.start] = True
        reasons, texts = some.columns()
        reason = pc.replace_with_mask(reason, mask, reasons)
        evidence = pc.replace_with_mask(evidence, mask, texts)
    sample = pa.array(np.arange(here.start, here.start + size, dtype=np.int32))
    return [sample, ids, outcome, reason, evidence]


def _respelled(images: SampleImages, kept: Mask, decisions: ImageDecisions) -> pa.Array:
    """Return evidence on the kept rows of which an image has another spelling of its path."""
    evidence = np.full(len(kept), None, object)
    known = np.isin(images.keys, np.fromiter(decisions.respelled, np.uint64))
    for row in np.flatnonzero(kept & ~images.all_pass(~known)).tolist():
        own = range(images.bounds[row], images.bounds[row + 1])
        found = {n: decisions.respelled[int(images.keys[n])] for n in own if known[n]}
        if len(own) == 1:
            (one,) = found.values()
            evidence[row] = evidence_json(one)
        else:
            several = [{**one, "position": n - own.start} for n, one in found.items()]
            evidence[row] = evidence_json({"respelled": several})
    return pa.array(evidence, pa.string())


def _image_columns(
    images: SampleImages, kept: Mask, decisions: ImageDecisions | None, schema: pa.Schema
) -> list[pa.Array]:
    """Return sha256, width and height of the kept rows' images."""
    visible = kept & (images.counts > 0)
    if schema is not SCREENED_SCHEMA:
        return _image_list_columns(images, kept, decisions)
    if decisions is None or not visible.any():
        return [pa.nulls(len(kept), schema.field(n).type) for n in _IMAGE_COLUMNS]
    return decisions.columns(images.single_keys(), visible)


def _image_list_columns(
    images: SampleImages, kept: Mask, decisions: ImageDecisions | None
) -> list[pa.Array]:
    """Return lists of sha256, width and height; null where they are not known, or not kept."""
    shown = kept if decisions else kept & (images.counts == 0)
    keys = images.take(np.flatnonzero(shown).astype(np.int32)).keys
    counts = np.where(shown, images.counts, 0)
    bounds = pa.array(np.append(0, np.cumsum(counts)).astype(np.int32))
    facts = [pa.array([], SCREENED_SCHEMA.field(name).type) for name in _IMAGE_COLUMNS]
    if decisions is not None:
        facts = decisions.columns(keys, np.ones(len(keys), np.bool_))
    return [pa.ListArray.from_arrays(bounds, some, mask=pa.array(~shown)) for some in facts]


def _exclusion_figures(verdicts: Iterable[Verdict]) -> dict[str, dict[str, int]]:
    """Count by exclusion its records, and those that match only one of its two conditions."""
    counts: dict[str, dict[str, int]] = {}
    for reason, evidence in verdicts:
        if reason is Reason.EXCLUDED:
            figures = counts.setdefault(evidence["exclusion"], {"records": 0, "disagreeing": 0})
            figures["records"] += 1
            figures["disagreeing"] += evidence["image_prefix"] != evidence["prompt"]
    return counts


def _rule_figures(candidates: Candidates, refused: Sequence[Refusals]) -> dict[str, int]:
    """Count the Samples that each rule matches; of a rule on images, those that it drops."""
    counts = Counter(candidates.excluded.matched)
    for by_image in refused[2:]:
        reasons, texts = by_image.columns()
        by_rule = pc.is_in(reasons, pa.array([r.value for r in IMAGE_RULE_REASONS], pa.string()))
        for text, count in value_counts(texts.filter(by_rule)).items():
            counts[orjson.loads(text)["exclusion"]] += count
    return dict(sorted(counts.items()))
