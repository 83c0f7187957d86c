"""A records stage's ledger, held against what was read and what was written."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from imp_data.ledger import RECORDS_LEDGER_SCHEMA
from imp_data.mixture.reconciliation import records_account
from imp_data.storage.tables import parquet_writer

# ordinal, outcome, reason, sample: two rows of one Sample, one row of another, one dropped.
WHOLE: list[tuple[Any, ...]] = [
    (0, None, None, 0),
    (1, "dropped", "image_missing", None),
    (2, None, None, 1),
    (3, None, None, 0),
]


def account(folder: Path, rows: list[tuple[Any, ...]]) -> dict[str, tuple[int, int]]:
    """Found and expected figures, where four rows were read and two Samples made."""
    names = ("ordinal", "outcome", "reason", "sample")
    records = [dict(zip(names, row, strict=True)) for row in rows]
    with parquet_writer(folder / "ledger.parquet", RECORDS_LEDGER_SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(records, schema=RECORDS_LEDGER_SCHEMA))
    return records_account(folder / "ledger.parquet", 4, 2)


def wrong(folder: Path, rows: list[tuple[Any, ...]]) -> set[str]:
    return {what for what, (found, asked) in account(folder, rows).items() if found != asked}


def test_a_ledger_that_accounts_for_every_row_and_sample_is_as_expected(tmp_path: Path) -> None:
    assert account(tmp_path, WHOLE) == {
        "ledger rows": (4, 4),
        "different ordinals": (4, 4),
        "rows without a fate": (0, 0),
        "Samples named by the ledger": (2, 2),
        "Samples that do not exist": (0, 0),
    }


@pytest.mark.parametrize(
    ("row", "other", "what"),
    [
        (3, (2, None, None, 0), {"different ordinals"}),
        (3, (4, None, None, 0), {"different ordinals"}),
        (3, (None, None, None, 0), {"different ordinals"}),
        (2, (2, None, None, 0), {"Samples named by the ledger"}),
        (3, (3, None, None, 2), {"Samples that do not exist"}),
        (3, (3, None, None, -1), {"Samples that do not exist"}),
        (1, (1, None, None, None), {"rows without a fate"}),
        (1, (1, "dropped", None, None), {"rows without a fate"}),
        (1, (1, "held", "over_quota", None), {"rows without a fate"}),
    ],
    ids=[
        *("an ordinal twice", "an ordinal too large", "no ordinal", "a Sample left out"),
        *("a Sample too many", "a negative Sample", "no outcome", "no reason", "held already"),
    ],
)
def test_what_does_not_add_up_is_told(
    row: int, other: tuple[Any, ...], what: set[str], tmp_path: Path
) -> None:
    assert wrong(tmp_path, [other if n == row else one for n, one in enumerate(WHOLE)]) == what


def test_a_row_that_vanished_is_told(tmp_path: Path) -> None:
    assert wrong(tmp_path, WHOLE[:3]) == {"ledger rows", "different ordinals"}
