"""Rows of damaged or oversized Parquet files: readable rows are kept, lost rows are counted."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imp_data.errors import UserError
from tests.records.test_hostile_records import ledger_outcomes, source

NAMES = ("link", "caption", "message_id")
LAION = source("laion_gpt4v", "f.parquet")


def captions(file: Path, count: int, caption: str = "A cat", **options: Any) -> None:
    columns = {name: [f"{name} {n}" for n in range(count)] for name in NAMES}
    columns["caption"] = [f"{caption} {n}" for n in range(count)]
    options = {"row_group_size": 100, "write_page_checksum": True, **options}
    pq.write_table(pa.table(columns), file, **options)


def flip_byte(file: Path, group: int, column: int, beyond: int = 0) -> None:
    """Change a byte of a column's first data page."""
    chunk = pq.ParquetFile(file).metadata.row_group(group).column(column)
    data = bytearray(file.read_bytes())
    data[chunk.data_page_offset + beyond] ^= 0xFF
    file.write_bytes(data)


def kept(found: list[tuple[Any, Any, Any]]) -> list[str]:
    return [name for name, reason, _ in found if reason is None]


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("beyond", [0, 90])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_an_undecodable_page_loses_its_row_group_and_one_row_counts_it(
    column: int, beyond: int, tmp_path: Path
) -> None:
    captions(tmp_path / "f.parquet", 300)
    flip_byte(tmp_path / "f.parquet", 1, column, beyond)
    found = ledger_outcomes(tmp_path, LAION)
    assert kept(found) == [f"message_id {n}" for n in (*range(100), *range(200, 300))]
    [(name, reason, evidence)] = [one for one in found if one[1]]
    assert (name, reason, evidence.pop("problem") != "") == (None, "rows_lost", True)
    assert evidence == {"file": "f.parquet", "first_row": 0, "row_group": 1, "rows": 100}


@pytest.mark.usefixtures("one_worker")
def test_rows_before_an_undecodable_page_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "f.parquet"
    captions(file, 6000, row_group_size=6000, data_page_size=1000, use_dictionary=False)
    chunk = pq.ParquetFile(file).metadata.row_group(0).column(1)
    flip_byte(file, 0, 1, chunk.total_compressed_size - 100)
    found = ledger_outcomes(tmp_path, LAION)
    assert kept(found) == [f"message_id {n}" for n in range(4096)]
    assert found[-1][2]["first_row"] == 4096 and found[-1][2]["rows"] == 1904


@pytest.mark.usefixtures("one_worker")
def test_images_are_named_by_upstream_row_numbers_even_if_rows_are_lost(tmp_path: Path) -> None:
    captions(tmp_path / "f.parquet", 300)
    flip_byte(tmp_path / "f.parquet", 1, 0)
    ledger_outcomes(tmp_path, LAION)
    with pa.OSFile(str(tmp_path / "out/some.arrow")) as file:
        images = pa.ipc.open_file(file).read_all().column("image").to_pylist()
    assert images == [f"gpt_v{n}.jpg" for n in (*range(100), *range(200, 300))]


@pytest.mark.usefixtures("one_worker")
def test_a_file_without_a_readable_row_is_an_error_that_names_it(tmp_path: Path) -> None:
    captions(tmp_path / "f.parquet", 100)
    flip_byte(tmp_path / "f.parquet", 0, 0)
    with pytest.raises(UserError, match="is not a complete Parquet file") as error:
        ledger_outcomes(tmp_path, LAION)
    assert error.value.where == str(tmp_path / "f.parquet")


def change_row_count(file: Path, count: int, by: int, which: int) -> None:
    """Replace `count` in one of the footer's 64-bit fields by another number."""

    def field(number: int) -> bytes:
        number, out = 2 * number, b""
        while number > 127:
            out += bytes([number & 127 | 128])
            number >>= 7
        return b"\x16" + out + bytes([number])

    data = file.read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    parts = data[-8 - size : -8].split(field(count))
    begin, end = field(count).join(parts[: which + 1]), field(count).join(parts[which + 1 :])
    footer = begin + field(by) + end
    file.write_bytes(data[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1")


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize(
    ("count", "by", "which", "lost"),
    [
        (300, 10**12, 0, 10**12 - 300),  # the footer's total row count
        (300, 0, 0, 0),
        (100, 10**12, 3, 10**12 - 100),  # the first row group's
    ],
)
def test_a_wrong_row_count_in_the_footer_is_reported_and_all_rows_are_read(
    count: int, by: int, which: int, lost: int, tmp_path: Path
) -> None:
    captions(tmp_path / "f.parquet", 300)
    change_row_count(tmp_path / "f.parquet", count, by, which)
    found = ledger_outcomes(tmp_path, LAION)
    assert kept(found) == [f"message_id {n}" for n in range(300)]
    told = [evidence for _, reason, evidence in found if reason == "rows_lost"]
    assert [evidence["rows"] for evidence in told] == [lost]
    assert "the footer counts" in told[0]["problem"]


@pytest.mark.usefixtures("one_worker")
def test_a_row_that_is_too_large_or_not_text_is_dropped_alone(tmp_path: Path) -> None:
    columns = {name: [f"{name} {n}".encode() for n in range(5)] for name in NAMES}
    columns["caption"][1] = b"x" * 5000
    columns["caption"][3] = b"\xff"
    table = pa.table({name: pa.array(column, pa.binary()) for name, column in columns.items()})
    text = [column.combine_chunks().view(pa.string()) for column in table.columns]
    pq.write_table(pa.table(dict(zip(NAMES, text, strict=True))), tmp_path / "f.parquet")
    found = ledger_outcomes(tmp_path, LAION, max_record_bytes=1000)
    assert [reason for _, reason, _ in found] == [None, "record_too_large", None, "not_utf8", None]


@pytest.mark.usefixtures("one_worker")
def test_a_row_group_that_decodes_to_hundreds_of_times_its_file_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imp_data.records.tables.parquet_rows._MAX_BYTES", 1 << 20)
    same = pa.table({name: ["the same text"] * 50_000 for name in NAMES})
    with pq.ParquetWriter(tmp_path / "f.parquet", same.schema) as writer:
        writer.write_table(same)
        writer.write_table(same.slice(0, 5))
    found = ledger_outcomes(tmp_path, LAION)
    assert [reason for _, reason, _ in found] == ["rows_lost"] + [None] * 5
    assert found[0][2]["rows"] == 50_000 and "decodes to more than" in found[0][2]["problem"]


@pytest.mark.usefixtures("one_worker")
def test_rows_that_share_a_long_text_are_read_a_few_at_a_time(
    tmp_path: Path,
) -> None:
    place = pa.array([0] * 40, pa.int32())
    shared = pa.DictionaryArray.from_arrays(place, ["x" * (1 << 20)])
    columns = {"link": ["l"] * 40, "caption": shared, "message_id": [str(n) for n in range(40)]}
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    found = ledger_outcomes(tmp_path, LAION, max_record_bytes=2 << 20)
    assert [reason for _, reason, _ in found] == ["too_long"] * 40
