"""A source's gzip and zstd files of records are decompressed beside the download."""

import base64
import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from conftest import PUBLISHED, World, built, encoded, photo, record, run

from imp_data.errors import UserError
from imp_data.manifests import Limits
from imp_data.mixture.arrow_dataset import mixture_batches
from imp_data.pipeline.download_plan import BUILD_BYTES, plan_downloads
from imp_data.raw import extract_limits
from imp_data.raw.decompress import decompress, decompress_records
from imp_data.storage.atomic_write import write_small
from imp_data.storage.paths import parse_path
from imp_data.storage.range_reader import open_file

TEXT = b"\n".join(json.dumps(record(n, answer=f"Thing {n}.")).encode() for n in range(40)) + b"\n"


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
    return packed


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


PACKERS = {"gz": zipped, "zst": zstd}
each = pytest.mark.parametrize("ending", PACKERS)


@pytest.fixture(params=["this machine", "an object store"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return parse_path(f"memory://{tmp_path}") if "store" in request.param else tmp_path


def unpacked(home: Path, name: str, content: bytes, **limits: int) -> bytes:
    write_small(home / name, content)
    decompress(home / name, home / "copy", Limits(**limits))
    with open_file(home / "copy") as file:
        return file.read()


@each
def test_the_copy_has_the_bytes_that_were_compressed(ending: str, home: Path) -> None:
    assert unpacked(home, f"a.{ending}", PACKERS[ending](TEXT)) == TEXT


@each
def test_members_and_frames_that_follow_one_another_are_one_text(ending: str, home: Path) -> None:
    pack = PACKERS[ending]
    assert unpacked(home, f"a.{ending}", pack(TEXT) + pack(b"") + pack(TEXT)) == TEXT + TEXT


def test_zero_bytes_after_gzip_and_frames_without_content_of_zstd_are_no_text(home: Path) -> None:
    assert unpacked(home, "a.gz", zipped(TEXT) + bytes(512)) == TEXT
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    assert unpacked(home, "a.zst", skippable + zstd(TEXT)) == TEXT


DAMAGE = {
    "cut": (lambda data: data[:-5], "ends in the middle of its (gzip|zstd) data, after"),
    "cut in its header": (lambda data: data[:5], "ends in the middle of its"),
    "garbage": (
        lambda data: data + b"garbage",
        "has bytes after its (gzip|zstd) data that are not",
    ),
    "empty": (lambda data: b"", "is empty, although its name ends in"),
    "text": (lambda data: TEXT, "is JSON text, although its name ends in"),
}


@each
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_named_and_leaves_no_copy(kind: str, ending: str, tmp_path: Path) -> None:
    damage, message = DAMAGE[kind]
    with pytest.raises(UserError, match=message) as error:
        unpacked(tmp_path, f"a.{ending}", damage(PACKERS[ending](TEXT)))
    assert error.value.where == str(tmp_path / f"a.{ending}")
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{ending}"]


def test_altered_bytes_fail_their_checksum(tmp_path: Path) -> None:
    data = bytearray(zipped(TEXT))
    data[-6] ^= 1
    with pytest.raises(UserError, match=r"is damaged in its gzip data, after .*CRC"):
        unpacked(tmp_path, "a.gz", bytes(data))


@each
def test_a_file_beyond_the_limit_of_size_is_refused(ending: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unpacks to more than 1,000 bytes"):
        unpacked(tmp_path, f"a.{ending}", PACKERS[ending](TEXT), max_unpacked_bytes=1000)


@each
def test_a_file_made_to_fill_a_disk_is_refused(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract_limits, "_MAX_RATIO_BYTES", 1 << 20)
    bomb = PACKERS[ending](bytes(4 << 20))
    with pytest.raises(UserError, match=f"more than 256 times its {len(bomb):,} bytes"):
        unpacked(tmp_path, f"a.{ending}", bomb)


def test_a_whole_copy_is_kept_and_any_other_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(zipped(TEXT))
    copy = tmp_path / "copy"
    first = decompress(tmp_path / "a.gz", copy, Limits())
    made = copy.stat().st_mtime_ns
    assert decompress(tmp_path / "a.gz", copy, Limits()) == first
    assert copy.stat().st_mtime_ns == made
    copy.write_bytes(TEXT.replace(b"Thing 7", b"Thing 8"))
    assert decompress(tmp_path / "a.gz", copy, Limits()) == first
    assert copy.read_bytes() == TEXT
    (tmp_path / "a.gz").write_bytes(zipped(TEXT[:100]))
    assert decompress(tmp_path / "a.gz", copy, Limits()) != first
    assert copy.read_bytes() == TEXT[:100]


def packed_source(world: World, name: str, files: dict[str, bytes], **fields: Any) -> None:
    for path, content in files.items():
        world.file(name, path, content)
    listed = [{"path": path, "by_hand": "-"} for path in files]
    stated = {"layout": "llava", "records": [*files], "files": listed}
    world.manifest("sources", name, **{**PUBLISHED, **stated, **fields})


def ids(world: World) -> list[str]:
    ledger = pl.read_parquet(world.data.mixture("small") / "ledger.parquet")
    return ledger["upstream_id"].to_list()


ARRAY = json.dumps([record(n) for n in range(3)]).encode()


@each
@pytest.mark.parametrize("name", ["data/a.json", "a.jsonl"])
def test_a_source_lists_a_compressed_file_and_it_just_works(
    name: str, ending: str, world: World
) -> None:
    text = (
        ARRAY
        if name.endswith(".json")
        else b"\n".join(json.dumps(record(n)).encode() for n in range(3))
    )
    packed_source(world, "birds", {f"{name}.{ending}": PACKERS[ending](text)})
    build = world.build({"birds": 3})
    run(build)
    assert ids(world) == ["0", "1", "2"]
    assert built(run(build)) == set()


def test_globs_and_several_endings_read_each_file_once(world: World) -> None:
    files = {
        "a/0.jsonl.gz": zipped(json.dumps(record("gz")).encode()),
        "a/0.jsonl.zst": zstd(json.dumps(record("zst")).encode()),
        "a/1.jsonl": json.dumps(record("plain")).encode(),
    }
    packed_source(world, "birds", files, records=["**/*.jsonl*", "*/1.jsonl"], subsets="file")
    run(world.build({"birds": 3}))
    assert ids(world) == ["gz", "zst", "plain"]
    run(world.build({"birds": 3}))
    assert ids(world) == ["gz", "zst", "plain"]


def test_images_in_compressed_text_are_named_by_the_file_that_upstream_publishes(
    world: World,
) -> None:
    shown = base64.b64encode(encoded(photo(0))).decode()
    text = json.dumps(record("r0", shown)).encode()
    packed_source(world, "birds", {"data/a.jsonl.gz": zipped(text)}, layout="conversations")
    run(world.build({"birds": 1}))
    [row] = [r for b in mixture_batches(world.data.mixture("small")) for r in b.to_pylist()]
    assert row["image"] == f"birds/data/a.jsonl.gz/@/0-{len(text)}/0"


def test_a_webdataset_may_be_compressed(world: World) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in (("0.png", encoded(photo(0))), ("0.txt", b"A thing.")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    packed_source(world, "web", {"0.tar.gz": zipped(out.getvalue())}, layout="captions")
    run(world.build({"web": 1}))
    [row] = [r for b in mixture_batches(world.data.mixture("small")) for r in b.to_pylist()]
    assert row["image"] == "web/0.tar.gz/@/0.png"


def test_a_copy_that_decayed_is_found_before_it_is_read(world: World) -> None:
    packed_source(world, "birds", {"a.json.gz": zipped(ARRAY)})
    build = world.build({"birds": 3})
    build.raw("birds")
    copy = world.data.raw("birds") / ".decompressed" / "gz" / "a.json"
    times = copy.stat()
    copy.write_bytes(ARRAY.replace(b"A thing", b"A thong"))
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    build.just_built.clear()
    build.raw("birds")
    with pytest.raises(UserError, match="is damaged: its bytes changed since it was verified"):
        build.records("birds")


def test_another_version_upstream_is_one_change(world: World) -> None:
    packed_source(world, "birds", {"a.json.gz": zipped(ARRAY)})
    build = world.build({"birds": 3})
    build.raw("birds")
    world.file("birds", "a.json.gz", zipped(json.dumps([record(9)]).encode()))
    assert build.raw("birds").figures["changes"] == {"a.json.gz": "changed"}
    run(build)
    assert ids(world) == ["9"]


def test_a_plan_counts_the_copy_until_it_is_there(world: World) -> None:
    content = zipped(ARRAY)
    packed_source(world, "birds", {"a.json.gz": content, "b.json": ARRAY, "c.gz": b"x"})
    stated = {**PUBLISHED, "layout": "llava", "records": ["*.json*"]}
    listed = [{"path": path, "by_hand": "-"} for path in ("a.json.gz", "b.json", "c.gz")]
    world.manifest("sources", "birds", **stated, files=listed)
    build = world.build({"birds": 3})
    assert plan_downloads(build).disk_bytes == BUILD_BYTES + 8 * len(content)
    build.raw("birds")
    assert plan_downloads(build).disk_bytes == BUILD_BYTES


def test_a_run_that_ends_goes_on_with_the_next_file(world: World) -> None:
    names = ("a.json.gz", "b.json.gz")
    packed_source(world, "birds", {name: zipped(ARRAY) for name in names})
    raw = world.data.raw("birds")
    source = world.build({"birds": 3}).recipe.sources["birds"]
    stop = Event()
    (raw / "b.json.gz").write_bytes(zipped(ARRAY)[:-9])
    with pytest.raises(UserError, match=r"b\.json\.gz: ends in the middle"):
        decompress_records([source], raw, Limits(), stop)
    first = raw / ".decompressed" / "gz" / "a.json"
    made = first.stat().st_mtime_ns
    (raw / "b.json.gz").write_bytes(zipped(ARRAY))
    stop.set()
    with pytest.raises(UserError, match="is not decompressed: the run ended"):
        decompress_records([source], raw, Limits(), stop)
    done = decompress_records([source], raw, Limits())
    assert [*done] == [".decompressed/gz/a.json", ".decompressed/gz/b.json"]
    assert first.stat().st_mtime_ns == made
