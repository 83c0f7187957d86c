"""Arrow and Parquet files: equal content gives equal bytes, and damaged files are errors."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imp_data.errors import UserError
from imp_data.storage.tables import arrow_writer, parquet_writer, read_batches

SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int64()), ("more", pa.list_(pa.string()))])


def table(rows: int = 10) -> pa.RecordBatch:
    numbers = list(range(rows))
    values = [[str(n) for n in numbers], numbers, [["x"] * (n % 3) for n in numbers]]
    return pa.RecordBatch.from_arrays([pa.array(v) for v in values], schema=SCHEMA)


def write_arrow(path: Path, *batches: pa.RecordBatch) -> bytes:
    with arrow_writer(path, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return path.read_bytes()


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    assert write_arrow(tmp_path / "a", table()) == write_arrow(tmp_path / "b", table())
    for name in "cd":
        with parquet_writer(tmp_path / name, SCHEMA) as writer:
            writer.write_table(pa.Table.from_batches([table()]))
    assert (tmp_path / "c").read_bytes() == (tmp_path / "d").read_bytes()
    assert pq.read_table(tmp_path / "c") == pa.Table.from_batches([table()])


def test_batches_are_read_in_order_with_the_requested_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    write_arrow(path, table(3), table(0), table(5))
    assert [len(batch) for batch in read_batches(path)] == [3, 0, 5]
    assert list(read_batches(path))[2] == table(5)
    for columns in (["n"], ["id", "more"], ["more", "id"]):
        batch = next(read_batches(path, columns))
        assert batch.select(columns) == table(3).select(columns)
        assert sorted(batch.schema.names) == sorted(columns)


def test_an_incomplete_arrow_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    data = write_arrow(path, table())
    for cut in (0, 5, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(
            UserError, match=r"a\.arrow: is damaged: it does not end with checksums"
        ):
            list(read_batches(path))
    path.unlink()
    with pytest.raises(UserError, match=r"a\.arrow: cannot be read \(.*No such file"):
        list(read_batches(path))
