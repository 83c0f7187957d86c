"""Damaged files are detected on reading: an error names the file, or it is rebuilt."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ALBUM_QUOTAS, ALBUM_RULES, World, built, run
from hypothesis import given, settings
from hypothesis import strategies as st

from imp_data.errors import UserError
from imp_data.images.compare import match_images
from imp_data.mixture.duplicates.report import load_or_make_report, read_checked_report
from imp_data.mixture.ledger_queries import diff, explain
from imp_data.mixture.verify import verify
from imp_data.pipeline.build import Build
from imp_data.storage.atomic_write import write_text
from imp_data.storage.digests import tree_digest
from imp_data.storage.scratch_batches import read_block, write_block
from imp_data.storage.stage_cache import (
    StageOutputs,
    StageResult,
    StageRun,
    read_stamp,
    run_stage,
    write_stamp,
)
from imp_data.storage.tables import arrow_writer, open_parquet, parquet_writer, read_batches
from imp_data.training.data.mixture_input import open_mixture

SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int64()), ("more", pa.list_(pa.string()))])
BATCH = pa.RecordBatch.from_arrays(
    [
        pa.array([f"{n}" for n in range(50)]),
        pa.array(range(50)),
        pa.array([["x"] * (n % 3) for n in range(50)]),
    ],
    schema=SCHEMA,
)
TABLE = pa.Table.from_batches([BATCH, BATCH])


def write_arrow(path: Path) -> None:
    with arrow_writer(path, SCHEMA) as writer:
        writer.write_table(TABLE, max_chunksize=50)


def write_parquet(path: Path) -> None:
    with parquet_writer(path, SCHEMA) as writer:
        writer.write_table(TABLE, row_group_size=50)


def arrow_table(path: Path) -> pa.Table:
    return pa.Table.from_batches(read_batches(path))


def parquet_table(path: Path) -> pa.Table:
    return open_parquet(path).read()


FORMATS: dict[str, tuple[Callable[[Path], None], Callable[[Path], pa.Table]]] = {
    "arrow": (write_arrow, arrow_table),
    "parquet": (write_parquet, parquet_table),
}


def flip(path: Path, place: int | None = None, bit: int = 0) -> None:
    """Flip a bit of a file, by default in its middle; keep size and time."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 1 << bit
    path.unlink()  # or what shares its bytes on disk would rot as well
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


# --- checksums within a file --------------------------------------------------------------------


def test_other_readers_read_a_sealed_file(tmp_path: Path) -> None:
    write_arrow(tmp_path / "a.arrow")
    write_parquet(tmp_path / "a.parquet")
    assert pa.ipc.open_file(tmp_path / "a.arrow").read_all() == TABLE
    assert pq.read_table(tmp_path / "a.parquet") == TABLE
    assert pl.read_ipc(tmp_path / "a.arrow").equals(pl.read_parquet(tmp_path / "a.parquet"))
    assert pl.scan_parquet(tmp_path / "a.parquet").select("n").collect()["n"].sum() == 2450


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_any_altered_byte_is_an_error_that_names_the_file(form: str, tmp_path: Path) -> None:
    write, read = FORMATS[form]
    path = tmp_path / "a"
    write(path)
    data = path.read_bytes()
    assert read(path) == TABLE
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        with pytest.raises(UserError, match=f"{path}: is damaged: "):
            read(path)


@pytest.mark.parametrize("form", FORMATS)
@given(cut=st.integers(0, 10_000), more=st.binary(max_size=40), page=st.integers(0, 10_000))
@settings(max_examples=60)
def test_a_truncated_extended_or_zeroed_file_is_an_error_that_names_it(
    form: str, tmp_path_factory: pytest.TempPathFactory, cut: int, more: bytes, page: int
) -> None:
    write, read = FORMATS[form]
    path = tmp_path_factory.mktemp("damaged") / "a"
    write(path)
    data = path.read_bytes()
    cut, page = cut % len(data), page % len(data)
    zeros = bytes(len(data[page : page + 512]))
    for damaged in (data[:cut] + more, data + more, data[:page] + zeros + data[page + 512 :]):
        path.write_bytes(damaged)
        if damaged == data:
            assert read(path) == TABLE
            continue
        with pytest.raises(UserError, match=f"{path}: is damaged: "):
            read(path)


def test_blocks_that_are_not_read_are_not_checked(tmp_path: Path) -> None:
    path, rows = tmp_path / "a.arrow", 60_000
    schema = pa.schema([("n", pa.int64()), ("text", pa.string())])
    batch = pa.record_batch([pa.array(range(rows)), pa.array(["words"] * rows)], schema=schema)
    with arrow_writer(path, schema) as writer:
        for _ in range(4):
            writer.write_batch(batch)
    data = path.read_bytes()
    flip(path, data.index(b"words" * rows, len(data) // 4) + 150_000)  # not in the first batch
    assert [len(b) for b in read_batches(path, span=(0, 1))] == [rows]
    assert sum(len(b) for b in read_batches(path, ["n"])) == 4 * rows
    with pytest.raises(UserError, match=r"its bytes differ from what was written from byte \d"):
        list(read_batches(path, ["text"]))


def test_a_damaged_file_causes_its_stage_to_run_again(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"

    def stage() -> StageResult:
        return run_stage(tmp_path / "stamp.json", {}, [path], lambda: write_arrow(path) or {})

    first = stage()
    flip(path)
    assert not stage().built  # nothing was read, and an unchanged stage reads nothing
    with pytest.raises(UserError, match="its stage rewrites the file"):
        arrow_table(path)
    again = stage()
    assert (again.built, again.digest) == (True, first.digest)
    assert arrow_table(path) == TABLE


def test_a_batch_of_a_temporary_file_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "heap"
    with path.open("wb") as out:
        blocks = [write_block(path, out, BATCH) for _ in range(3)]
    assert [read_block(block, SCHEMA) for block in blocks] == [BATCH] * 3
    flip(path)
    assert read_block(blocks[0], SCHEMA) == read_block(blocks[2], SCHEMA) == BATCH
    with pytest.raises(UserError, match=f"{path}: is damaged: "):
        read_block(blocks[1], SCHEMA)


# --- stamps -------------------------------------------------------------------------------------


def test_a_stamp_reads_as_written_or_as_none(tmp_path: Path) -> None:
    path = tmp_path / "stamp.json"
    write_stamp(path, {"code": "1"}, "abc", {"rows": 12, "share": 0.25})
    data = path.read_bytes()
    written = read_stamp(path)
    assert written and written["figures"] == {"rows": 12, "share": 0.25}
    lost = 0
    for place in range(len(data)):
        for bit in range(8):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            found = read_stamp(path)
            lost += found is None
            fields = ("inputs", "digest", "figures", "files")
            assert found is None or [found[f] for f in fields] == [written[f] for f in fields]
    assert lost > len(data)


def test_a_stamp_of_an_earlier_release_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "stamp.json"
    path.write_text('{"inputs": {}, "digest": "abc", "figures": {}, "files": []}')
    assert read_stamp(path) == {"inputs": {}, "digest": "abc", "figures": {}, "files": []}


@pytest.mark.parametrize("text", ["[]", "7", "null", '"inputs digest figures files"'])
def test_a_malformed_stamp_reads_as_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "stamp.json"
    path.write_text(text)
    assert read_stamp(path) is None


def test_a_file_of_another_mixture_that_does_not_match_its_stamp_is_not_reused(
    tmp_path: Path,
) -> None:
    def stage(name: str, content: str) -> StageResult:
        def others(outputs: Sequence[Path]) -> list[StageOutputs]:
            return [StageOutputs(tmp_path / "b/stamp", [tmp_path / "b/out"])] if name == "a" else []

        folder = tmp_path / name
        return run_stage(
            *(folder / "stamp", {"code": "1"}, [folder / "out"]),
            lambda: write_text(folder / "out", content) or {"rows": 1},
            run=StageRun(folder / "lock", name, others=others),
        )

    theirs = stage("b", "content")
    assert not stage("a", "never made").built
    shutil.rmtree(tmp_path / "a")
    flip(tmp_path / "b/out")
    mine = stage("a", "content")
    assert (mine.built, mine.digest) == (True, theirs.digest)
    assert (tmp_path / "a/out").read_text() == "content"


# --- builds -------------------------------------------------------------------------------------


def small(world: World, name: str = "small") -> Build:
    return world.build(ALBUM_QUOTAS, name, **ALBUM_RULES)


def forget(build: Build, *assets: str) -> None:
    """Delete the stamps of these stages, so that they run again."""
    for asset in assets:
        build.stamp(asset).unlink()


AFTER_RECORDS = ("images/photos", "screened/photos", "mixture")
DAMAGED = {
    "records/small/photos.arrow": AFTER_RECORDS,
    "ledger/small/photos.parquet": ("mixture",),
    "benchmarks/small/quiz.parquet": AFTER_RECORDS,
    "fingerprints/small/photos.parquet": ("screened/photos", "mixture"),
    "screened/small/photos.arrow": ("mixture",),
    "mixtures/small/data-00000-of-00003.arrow": ("duplicates",),
    "mixtures/small/state.json": ("duplicates",),
    "mixtures/small/mixture.json": ("card",),
}


@pytest.mark.parametrize("file", DAMAGED)
def test_a_stage_names_a_damaged_input_and_the_next_run_rebuilds_it(file: str, laid: World) -> None:
    build = small(laid)
    expected = {asset: result.digest for asset, result in run(build).items()}
    flip(laid.data.root / file, bit=3)
    forget(build, *DAMAGED[file])
    with pytest.raises(UserError) as error:
        run(small(laid))
    assert error.value.where == str(laid.data.root / file)
    assert "damaged" in error.value.problem
    assert "the same command" in error.value.remedy
    again = run(small(laid))
    assert {asset: result.digest for asset, result in again.items()} == expected
    assert verify(laid.data.mixture("small")) == []
    assert built(run(small(laid))) == set()


def test_damaged_fingerprints_are_computed_again(
    laid: World, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = run(small(laid))["mixture"].digest
    other = laid.data.fingerprints("small", "photos")
    flip(other)
    results = run(laid.build(ALBUM_QUOTAS, "other", **{**ALBUM_RULES, "title": "Another"}))
    assert f"{other}: is not as its stage wrote it; its images are fingerprinted again" in (
        capsys.readouterr().err
    )
    assert results["images/photos"].built
    ledgers = [pl.read_parquet(laid.data.mixture(n) / "ledger.parquet") for n in ("small", "other")]
    assert ledgers[0].equals(ledgers[1])
    forget(small(laid), "images/photos")
    assert run(small(laid))["mixture"].digest == expected


def test_a_damaged_stamp_reruns_its_stage_alone(laid: World) -> None:
    build = small(laid)
    expected = run(build)["mixture"].digest
    for asset in ("records/photos", "images/photos", "screened/chats", "mixture", "raw/photos"):
        flip(build.stamp(asset), bit=1)
        results = run(small(laid))
        assert built(results) <= {asset, "card"}  # which goes with the mixture before
        assert results["mixture"].digest == expected


def test_a_folder_that_differs_from_its_stage_output_is_named(laid: World) -> None:
    build = small(laid)
    folder = laid.data.model("small") / "merged"
    write_text(folder / "model.bin", "weights")
    write_stamp(build.stamp("models/small/merged"), {}, tree_digest(folder), {})
    build.check_unaltered("models/small/merged", tree_digest(folder), folder)
    flip(folder / "model.bin")
    before = (folder / "model.bin").stat().st_mtime_ns
    with pytest.raises(UserError, match="merged: is damaged: a file in it is not as models/small"):
        build.check_unaltered("models/small/merged", tree_digest(folder), folder)
    assert (folder / "model.bin").stat().st_mtime_ns != before


@pytest.mark.parametrize(
    ("file", "asset"),
    [("photos/records.json", "records/photos"), ("quiz/ids.json", "benchmarks/quiz")],
)
def test_an_upstream_file_damaged_since_its_verification_is_named(
    file: str, asset: str, laid: World
) -> None:
    build = small(laid)
    expected = run(build)["mixture"].digest
    flip(laid.data.raw(file))
    assert built(run(small(laid))) == set()
    forget(build, asset)
    for _ in range(2):  # no run takes it for a new version
        with pytest.raises(UserError, match="its bytes changed since it was verified") as error:
            run(small(laid))
        assert error.value.where == str(laid.data.raw(file))
    flip(laid.data.raw(file))
    assert run(small(laid))["mixture"].digest == expected


# --- readers of what is published ---------------------------------------------------------------

READERS: dict[str, tuple[Callable[[Path], Any], set[str]]] = {
    "explain": (lambda folder: explain(folder, "1"), {"ledger", "shard", "state", "mixture"}),
    "diff": (lambda folder: diff(folder, folder), {"ledger", "mixture"}),
    "duplicates": (lambda folder: load_or_make_report(folder, []), {"shard", "state", "mixture"}),
    "train": (open_mixture, {"ledger", "shard", "state", "mixture", "info"}),
}
PUBLISHED_FILES = {
    "ledger": "ledger.parquet",
    "shard": "data-00000-of-00003.arrow",
    "state": "state.json",
    "info": "dataset_info.json",
    "mixture": "mixture.json",
}


@pytest.mark.parametrize("kind", PUBLISHED_FILES)
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_of_a_damaged_mixture_names_the_file(
    reader: str, kind: str, album: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(album, tmp_path / "m")
    read, needed = READERS[reader]
    for place in (0, None, -1):
        flip(folder / PUBLISHED_FILES[kind], place)
        if kind in needed:
            with pytest.raises(UserError) as error:
                read(folder)
            assert error.value.where == str(folder / PUBLISHED_FILES[kind])
        else:
            read(folder)
        flip(folder / PUBLISHED_FILES[kind], place)
    read(folder)


def test_the_asset_graph_does_not_show_a_damaged_report(laid: World) -> None:
    result = run(small(laid))["duplicates"]
    folder = laid.data.reports("small")
    assert read_checked_report(folder, result.digest)["samples"] > 0
    flip(folder / "duplicates.json")
    with pytest.raises(UserError, match=r"duplicates\.json or duplicates\.md is damaged"):
        read_checked_report(folder, result.digest)
    assert run(small(laid))["duplicates"].digest == result.digest
    assert read_checked_report(folder, result.digest)["samples"] > 0


def test_foreign_fingerprint_files_are_read_and_damaged_ones_named(
    laid: World, tmp_path: Path
) -> None:
    run(small(laid))
    sealed = shutil.copy(laid.data.fingerprints("small", "photos"), tmp_path / "sealed.parquet")
    plain = tmp_path / "plain.parquet"
    pq.write_table(pq.read_table(sealed), plain)
    assert match_images(sealed, plain, 4) == match_images(plain, sealed, 4) != []
    flip(sealed)
    with pytest.raises(UserError, match=r"sealed\.parquet: is damaged: .*\n.*imp-data fingerprint"):
        match_images(sealed, plain, 4)
