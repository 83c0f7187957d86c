"""Ledgers reconcile with the rows read and the Samples written."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from imp_data.ledger import RECORDS_LEDGER_SCHEMA
from imp_data.mixture.reconciliation import reconcile_records, reconciliation_problems
from imp_data.storage.tables import parquet_writer

# ordinal, outcome, reason, sample: two rows of one Sample, one row of another, one dropped.
WHOLE: list[tuple[Any, ...]] = [
    (0, None, None, 0),
    (1, "dropped", "image_missing", None),
    (2, None, None, 1),
    (3, None, None, 0),
]


def account(folder: Path, rows: list[tuple[Any, ...]]) -> dict[str, tuple[int, int]]:
    """Return found and expected figures for four rows read and two Samples written."""
    names = ("ordinal", "outcome", "reason", "sample")
    records = [dict(zip(names, row, strict=True)) for row in rows]
    with parquet_writer(folder / "ledger.parquet", RECORDS_LEDGER_SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(records, schema=RECORDS_LEDGER_SCHEMA))
    return reconcile_records(folder / "ledger.parquet", 4, 2)


def wrong(folder: Path, rows: list[tuple[Any, ...]]) -> set[str]:
    return {what for what, (found, expected) in account(folder, rows).items() if found != expected}


def test_a_ledger_that_accounts_for_every_row_and_sample_is_as_expected(tmp_path: Path) -> None:
    assert account(tmp_path, WHOLE) == {
        "ledger rows": (4, 4),
        "different ordinals": (4, 4),
        "rows without an outcome": (0, 0),
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
        (1, (1, None, None, None), {"rows without an outcome"}),
        (1, (1, "dropped", None, None), {"rows without an outcome"}),
        (1, (1, "held", "over_quota", None), {"rows without an outcome"}),
    ],
    ids=[
        *("an ordinal twice", "an ordinal too large", "no ordinal", "a Sample left out"),
        *("a Sample too many", "a negative Sample", "no outcome", "no reason", "held already"),
    ],
)
def test_a_figure_that_differs_is_reported(
    row: int, other: tuple[Any, ...], what: set[str], tmp_path: Path
) -> None:
    assert wrong(tmp_path, [other if n == row else one for n, one in enumerate(WHOLE)]) == what


def test_a_missing_row_is_reported(tmp_path: Path) -> None:
    assert wrong(tmp_path, WHOLE[:3]) == {"ledger rows", "different ordinals"}


def without_a_row(ledger: pl.DataFrame) -> pl.DataFrame:
    return ledger.filter(pl.col("ordinal") != 1)


def with_another_id(ledger: pl.DataFrame) -> pl.DataFrame:
    last = (pl.col("id") == ledger.filter(outcome="kept")["id"][0]) & (pl.col("outcome") == "kept")
    return ledger.with_columns(
        id=pl.when(last).then(pl.lit("photos/0123456789abcdef")).otherwise("id")
    )


def with_an_unknown_outcome(ledger: pl.DataFrame) -> pl.DataFrame:
    return ledger.with_columns(outcome=pl.col("outcome").str.replace("held", "lost"))


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        (
            without_a_row,
            [
                "photos: 11 ledger rows, 12 rows read",
                "chats: 3 ledger rows, 4 rows read",
                "pages: 1 ledger rows, 2 rows read",
                "captions: 2 ledger rows, 3 rows read",
                "kept ids: 9 in ledger.parquet, 11 in the shards, 9 in both",
            ],
        ),
        (with_another_id, ["kept ids: 11 in ledger.parquet, 11 in the shards, 10 in both"]),
        (with_an_unknown_outcome, ["ledger.parquet: outcomes that do not exist: lost"]),
        (lambda ledger: ledger, []),
    ],
)
def test_reconciliation_finds_the_faults_of_a_ledger(
    change: Callable[[pl.DataFrame], pl.DataFrame], problems: list[str], album: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(album, tmp_path / "m")
    ledger = pl.read_parquet(folder / "ledger.parquet")
    change(ledger).write_parquet(folder / "ledger.parquet")
    assert reconciliation_problems(folder) == problems


def test_reconciliation_finds_a_sample_that_occurs_twice(album: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(album, tmp_path / "m")
    shard = folder / "data-00001-of-00003.arrow"
    with pa.OSFile(str(shard), "rb") as source:
        table = pa.ipc.open_stream(source).read_all()
    with pa.ipc.new_stream(str(shard), table.schema) as writer:
        writer.write_table(pa.concat_tables([table, table.slice(0, 1)]))
    problems = reconciliation_problems(folder)
    assert problems == ["kept ids: 11 in ledger.parquet, 12 in the shards, 11 in both"]
