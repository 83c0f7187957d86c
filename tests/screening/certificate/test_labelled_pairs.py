"""The matcher's verdicts on labelled pairs are those of the committed table."""

from pathlib import Path

import pytest

from imp_data.screening.decontamination.certificate.labelled_pairs import (
    PairVerdict,
    changes,
    labelled_pairs,
    verdict_table,
    verdicts,
)
from imp_data.screening.decontamination.certificate.matchers import BuildMatcher

TABLE = Path(__file__).with_name("verdicts.tsv")


@pytest.mark.slow
def test_no_verdict_of_the_build_s_matcher_changes_unannounced() -> None:
    present = verdicts(BuildMatcher())
    renew = "if these changes are meant, run `python benchmarks/verdicts.py --renew`"
    assert changes(TABLE.read_text(), present) == [], renew
    assert TABLE.read_text() == verdict_table(present)


def test_each_labelled_pair_is_in_the_table() -> None:
    rows = [line.split("\t")[:3] for line in TABLE.read_text().splitlines()]
    pairs = [[pair.image.name, pair.reference.name, pair.right] for pair in labelled_pairs()]
    assert rows == [["image", "reference", "right"], *pairs]
    assert len(pairs) == 158


def test_changes_name_the_pair_and_both_verdicts() -> None:
    some = [
        PairVerdict("a", "b", "copy", "different"),
        PairVerdict("c", "d", "different", "different"),
        PairVerdict("e", "f", "report", "copy", 4),
    ]
    table = verdict_table(some)
    assert table == (
        "image\treference\tright\tverdict\n"
        "a\tb\tcopy\tdifferent\nc\td\tdifferent\tdifferent\ne\tf\treport\tcopy\n"
    )
    assert changes(table, some) == []
    now = [
        PairVerdict("a", "b", "copy", "copy", 8),
        PairVerdict("e", "f", "report", "different"),
        PairVerdict("g", "h", "copy", "copy", 0),
    ]
    assert changes(table, now) == [
        "a, b: different → copy (right)",
        "e, f: copy → different (right is report)",
        "new: g, h: copy",
        "gone: c, d",
    ]
