"""Quotas of every form take the same rows as sampling everything first would."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imp_data.manifests.quotas import parse_quota
from imp_data.sample import RECORD_SCHEMA
from imp_data.screening.copies import copies_evidence
from imp_data.screening.quota_sampling import QuotaSample, write_screened
from imp_data.screening.quota_shares import copies_of, sample_source
from imp_data.screening.rule_matches import RuleTally
from imp_data.screening.sample_images import join_images
from imp_data.screening.text_filters import Candidates
from imp_data.storage.tables import arrow_writer, read_batches

SUBSETS = "abc"
AMOUNTS = st.sampled_from([0, 1, 3, "all", "2x", "1.5x", "0.4x"])
QUOTAS = st.one_of(
    st.sampled_from([1, 3, "all", "2x", "1.5x", "0.4x"]),
    st.dictionaries(st.sampled_from(SUBSETS), AMOUNTS, min_size=1),
)
# One row: its subset, and whether its image passes.
ROWS = st.lists(st.tuples(st.sampled_from(SUBSETS), st.booleans()), max_size=24)


def records(path: Path, subsets: list[str], batch_rows: int = 5) -> Path:
    with arrow_writer(path, RECORD_SCHEMA) as writer:
        for begin in range(0, len(subsets), batch_rows):
            rows = [
                {"id": f"photos/{begin + n:016x}", "subset": subset, "conversations": []}
                for n, subset in enumerate(subsets[begin : begin + batch_rows])
            ]
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=RECORD_SCHEMA))
    return path


def sampled(path: Path, order: list[int], passing: list[bool], quota: Any) -> QuotaSample:
    good = np.array(passing, np.bool_)
    return sample_source(
        path, np.array(order, np.int32), parse_quota(quota), lambda rows: good[rows]
    )


def expected(rows: list[tuple[str, bool]], order: list[int], quota: Any) -> Counter[int]:
    """How often each row occurs, from all passing rows in sampling order."""
    if isinstance(quota, dict):
        of_each = (
            expected([(s, good and s == name) for s, good in rows], order, one)
            for name, one in quota.items()
        )
        return sum(of_each, Counter[int]())
    amount = parse_quota(quota).amount
    passing = [n for n in order if rows[n][1]][: amount.most]
    return +Counter(dict(zip(passing, amount.copies(len(passing)), strict=True)))


@settings(max_examples=60)
@given(ROWS, QUOTAS, st.randoms(use_true_random=False))
def test_every_quota_takes_what_sampling_everything_first_takes(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, bool]], quota: Any, random: Any
) -> None:
    folder = tmp_path_factory.mktemp("quota")
    path = records(folder / "r.arrow", [subset for subset, _ in rows])
    order = random.sample(range(len(rows)), len(rows))
    passing = [good for _, good in rows]
    taken = sampled(path, order, passing, quota)
    counts = dict(zip(taken.passed.tolist(), copies_of(taken).tolist(), strict=True))
    assert counts == expected(rows, order, quota)
    assert not any(passing[n] for n in taken.refused)

    # Each Sample has one outcome, and the figures say how many copies there are.
    keys = np.arange(1, len(rows) + 1, dtype=np.uint64)
    images = join_images(keys, np.ones(len(rows), np.int32))
    candidates = Candidates(images, {}, np.array(order, np.int32), RuleTally([]).matches())
    figures = write_screened(folder / "s.arrow", path, candidates, taken, None)
    assert figures["passed"] + figures["held"] + sum(figures["dropped"].values()) == len(rows)
    assert figures["passed"] + figures["copies"] == sum(counts.values())
    assert sum(figures["subsets"].values()) == sum(counts.values())
    outcomes = [r for b in read_batches(folder / "s.arrow") for r in b["outcome"].to_pylist()]
    assert {n for n, outcome in enumerate(outcomes) if outcome == "kept"} == counts.keys()


def test_no_image_is_opened_after_each_subset_is_full(tmp_path: Path) -> None:
    path = records(tmp_path / "r", list("aabbccaabb"))
    asked: list[int] = []

    def passes(rows: Any) -> Any:
        asked.extend(rows.tolist())
        return rows != 0

    taken = sample_source(
        path, np.arange(10, dtype=np.int32), parse_quota({"b": 1, "a": 2}), passes
    )
    assert asked == [0, 1, 6, 2]
    assert taken.passed.tolist() == [1, 6, 2]
    assert (taken.examined, taken.refused.tolist(), taken.copies) == (4, [0], None)


def test_copies_are_added_to_the_evidence_of_a_path_that_was_found_otherwise() -> None:
    evidence = pa.array([None, '{"found_as":"b","image":"a"}', None])
    copies = np.array([1, 3, 2], np.int32)
    assert copies_evidence(evidence, copies).to_pylist() == [
        None,
        '{"copies":3,"found_as":"b","image":"a"}',
        '{"copies":2}',
    ]
