"""Refusals in flat arrays equal a dictionary of verdicts, in a fraction of its memory."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.images.fingerprint import Fingerprint
from imp_data.images.fingerprint_cache import hash_image_paths
from imp_data.ledger import Reason, Verdict, evidence_json
from imp_data.screening.decision_file import read_decisions
from imp_data.screening.refusal_table import Refusals, join_refusals, refusals_from_verdicts
from tests.screening.test_decision_file import write_decisions

VERDICTS = st.builds(
    Verdict, st.sampled_from(Reason), st.dictionaries(st.text(max_size=3), st.text(max_size=9))
)
KEYS = st.integers(0, 2**64 - 1)


def told(found: Refusals) -> dict[int, tuple[str, str]]:
    reasons, evidence = (column.to_pylist() for column in found.columns())
    keys = found.keys.tolist()
    assert keys == sorted(keys)
    return dict(zip(keys, zip(reasons, evidence, strict=True), strict=True))


def expected(verdicts: dict[int, Verdict]) -> dict[int, tuple[str, str]]:
    return {key: (v.reason.value, evidence_json(v.evidence)) for key, v in verdicts.items()}


@given(st.dictionaries(KEYS, VERDICTS), st.integers(0, 3), KEYS, KEYS)
def test_the_table_equals_the_dictionary_of_verdicts(
    verdicts: dict[int, Verdict], pieces: int, first: int, end: int
) -> None:
    parts = [{k: v for k, v in verdicts.items() if k % (pieces + 1) == n} for n in range(4)]
    found = join_refusals([refusals_from_verdicts(part) for part in parts])
    assert told(found) == told(refusals_from_verdicts(verdicts)) == expected(verdicts)
    within = {key: verdict for key, verdict in verdicts.items() if first <= key < end}
    assert told(found.between(first, end)) == expected(within) if first <= end else True
    reasons = [verdict.reason.value for verdict in verdicts.values()]
    assert found.counts() == {reason: reasons.count(reason) for reason in set(reasons)}


@given(st.dictionaries(KEYS, VERDICTS, min_size=1), st.data())
def test_the_refusals_of_rows_are_those_of_their_images(
    verdicts: dict[int, Verdict], data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(sorted(verdicts))))
    rows = data.draw(st.permutations(range(len(chosen))))
    found = refusals_from_verdicts(verdicts).for_rows(
        np.array(rows, np.int32), np.array(chosen, np.uint64)
    )
    asked = dict(zip(rows, (verdicts[name] for name in chosen), strict=True))
    assert told(found) == expected(asked)


def test_an_image_that_is_not_refused_is_an_error() -> None:
    found = refusals_from_verdicts({7: Verdict(Reason.IMAGE_MISSING, {})})
    for name in (6, 8):
        with pytest.raises(KeyError):
            found.for_rows(np.array([0], np.int32), np.array([name], np.uint64))


def test_a_source_whose_images_are_all_missing_takes_some_bytes_for_each(tmp_path: Path) -> None:
    images = [f"coco/train2017/{n:012}.jpg" for n in range(20_000)]
    write_decisions(tmp_path / "f", [Fingerprint(image, "missing") for image in images])
    found = read_decisions(tmp_path / "f").refused
    assert len(found.keys) == len(images)
    text = len('{"image":""}') + len(images[0])
    assert sum(column.nbytes for column in found) / len(images) == pytest.approx(21 + text, abs=1)
    some = found.for_rows(np.array([5], np.int32), hash_image_paths(images[:1]))
    assert told(some) == {5: ("image_missing", f'{{"image":"{images[0]}"}}')}
