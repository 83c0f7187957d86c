"""Kinds of files by their first bytes."""

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imp_data.storage.file_kinds import HEAD_BYTES, IMAGE_KINDS, detect_kind, kind_phrase

TABLE = pa.table({"id": ["a"]})


def zipped(names: tuple[str, ...]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "text")
    return out.getvalue()


def tarred(format: int, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=format) as archive:  # type: ignore[call-overload]
        member = tarfile.TarInfo("folder/a.txt")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"text"))
    return out.getvalue()


def v7_tar() -> bytes:
    """Return a header as Unix V7 wrote it: without `ustar`, its checksum corrected."""
    header = bytearray(tarred(tarfile.USTAR_FORMAT)[:512])
    header[257:512] = bytes(255)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"text"


def arrow(make: Callable[..., pa.ipc.RecordBatchStreamWriter]) -> bytes:
    out = io.BytesIO()
    with make(out, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return out.getvalue()


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(TABLE, out)
    return out.getvalue()


def array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    return out.getvalue()


def image(format: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, format)
    return out.getvalue()


RECORDS = '[{"id": "a"}]'

KINDS = {
    "gzip": [gzip.compress(b"text", mtime=0), tarred(tarfile.GNU_FORMAT, "w:gz")],
    "zip": [zipped(("a.txt",)), zipped(())],
    "tar": [tarred(tarfile.GNU_FORMAT), tarred(tarfile.PAX_FORMAT), v7_tar()],
    "bzip2": [bz2.compress(b"text")],
    "xz": [lzma.compress(b"text")],
    "zstd": [pa.compress(b"text", codec="zstd", asbytes=True)],
    "parquet": [parquet()],
    "arrow": [arrow(pa.ipc.new_file), arrow(pa.ipc.new_stream)],
    "utf-16": [RECORDS.encode(codec) for codec in ("utf-16", "utf-16-le", "utf-16-be")],
    "utf-32": [RECORDS.encode(codec) for codec in ("utf-32", "utf-32-le", "utf-32-be")],
    "git-lfs pointer": [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4\n"
    ],
    "html": [
        b"<!DOCTYPE html>\n<html><head>",
        b"\n<html lang=en>",
        b"\xef\xbb\xbf<!-- saved -->\n<!doctype HTML>",
        b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN">',
    ],
    "xml": [b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', b"<annotation>\n"],
    "pdf": [b"%PDF-1.7\n"],
    "numpy": [array()],
    "pickle": [pickle.dumps([{"id": "a"}], protocol) for protocol in (2, 3, 4, 5)],
    "jpeg": [image("JPEG")],
    "png": [image("PNG")],
    "gif": [image("GIF")],
    "webp": [image("WEBP")],
    "tiff": [image("TIFF")],
    "bmp": [image("BMP")],
    "zeros": [bytes(100)],
    "json": [
        RECORDS.encode(),
        b'\xef\xbb\xbf \n{"id": "a"}\n{"id": "b"}',
        b"[]",
        b"{}",
        b"[1, 2]",
        b"[[1], [2]]",
        b'{\n  "data": [',
    ],
}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        pytest.param(kind, content, id=f"{kind}-{number}")
        for kind, some in KINDS.items()
        for number, content in enumerate(some)
    ],
)
def test_the_first_bytes_determine_the_kind_of_a_file(kind: str, content: bytes) -> None:
    assert detect_kind(content[:HEAD_BYTES]) == kind
    assert kind_phrase(kind)


def test_a_database_is_recognized(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("create table t (id text)")
    database.close()
    assert detect_kind((tmp_path / "a.db").read_bytes()[:HEAD_BYTES]) == "sqlite"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"id,question,answer\n1,a,b\n",
        b"plain text",
        b"<image>\nWhat is this?"[7:],
        b"BMW is a make of car",
        b"{ not json",
        b"\x00\x01\x02\x03",
    ],
)
def test_unknown_bytes_have_no_kind(content: bytes) -> None:
    assert detect_kind(content) is None
    assert kind_phrase(None) == "of an unknown kind"


def test_image_kinds_are_listed() -> None:
    assert {"jpeg", "png", "gif", "webp", "tiff", "bmp"} <= IMAGE_KINDS
    assert not IMAGE_KINDS & {"json", "zip", "html", "pdf"}


@given(st.binary(max_size=600))
def test_any_bytes_have_a_kind_with_a_description(content: bytes) -> None:
    assert kind_phrase(detect_kind(content))
