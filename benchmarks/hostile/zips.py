"""Build zips record by record."""

import bz2
import io
import struct
import zipfile
import zlib
from typing import NamedTuple

from hostile.archive_case import JAY, OWL

STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14
UTF8, ENCRYPTED, DESCRIPTOR = 0x800, 0x1, 0x8


class Entry(NamedTuple):
    """A member, and false values for its local header and the directory."""

    name: bytes
    data: bytes
    method: int = STORED
    flags: int = 0
    crc: int | None = None
    packed_size: int | None = None
    size: int | None = None
    offset: int | None = None
    mode: int = 0
    extra: bytes = b""
    local_name: bytes | None = None
    local_method: int | None = None
    packed: bytes | None = None
    disk: int = 0


def packed(data: bytes, method: int) -> bytes:
    if method == DEFLATED:
        made = zlib.compressobj(9, zlib.DEFLATED, -15)
        return made.compress(data) + made.flush()
    if method == BZIP2:
        return bz2.compress(data)
    if method == LZMA:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", LZMA) as archive:
            archive.writestr("x", data)
            info = archive.infolist()[0]
        return out.getvalue()[31 : 31 + info.compress_size]
    return data


def zipped(
    *entries: Entry,
    before: bytes = b"",
    comment: bytes = b"",
    cut: int = 0,
    end: dict[str, int] | None = None,
) -> bytes:
    """Return a zip of owl.png and the entries; `end` overrides fields of the end record."""
    body, directory = bytearray(before), bytearray()
    for entry in (Entry(b"owl.png", OWL), *entries):
        data = packed(entry.data, entry.method) if entry.packed is None else entry.packed
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        small = len(data) if entry.packed_size is None else entry.packed_size
        large = len(entry.data) if entry.size is None else entry.size
        offset = len(body) - len(before) if entry.offset is None else entry.offset
        local = entry.name if entry.local_name is None else entry.local_name
        method = entry.method if entry.local_method is None else entry.local_method
        sums = (0, 0, 0) if entry.flags & DESCRIPTOR else (crc, len(data), len(entry.data))
        body += struct.pack("<4s5H3I2H", b"PK\3\4", 20, entry.flags, method, 0, 0, *sums,
                            len(local), 0) + local + data  # fmt: skip
        if entry.flags & DESCRIPTOR:
            body += struct.pack("<4s3I", b"PK\7\x08", crc, len(data), len(entry.data))
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 0x314, 20, entry.flags, entry.method, 0, 0, crc, small, large,
            len(entry.name), len(entry.extra), 0, entry.disk, 0, entry.mode << 16, offset,
        ) + entry.name + entry.extra  # fmt: skip
    stated = {"disk": 0, "count": len(entries) + 1, "size": len(directory)}
    stated |= {"offset": len(body) - len(before)} | (end or {})
    last = struct.pack("<4s4H2IH", b"PK\5\6", stated["disk"], stated["disk"], stated["count"],
                       stated["count"], stated["size"], stated["offset"], len(comment))  # fmt: skip
    whole = bytes(body + directory + last + comment)
    return whole[: len(whole) - cut]


def jay(**how: object) -> bytes:
    return zipped(Entry(b"jay.png", JAY, **how))  # type: ignore[arg-type]


def zip64(**fields: int) -> bytes:
    """Return an entry with its sizes and offset in a zip64 field."""
    order = [fields[name] for name in ("size", "packed_size", "offset") if name in fields]
    extra = struct.pack(f"<HH{len(order)}Q", 1, 8 * len(order), *order)
    return jay(extra=extra, **dict.fromkeys(fields, 0xFFFFFFFF))


def named(name: bytes, **how: object) -> bytes:
    return zipped(Entry(name, JAY, **how))  # type: ignore[arg-type]


def overlapping() -> bytes:
    """Return fifty nested members, each containing all later ones."""
    kernel = packed(bytes(1 << 20), DEFLATED)
    names = [b"%02d.png" % n for n in range(50)]
    headers = [
        struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, STORED, 0, 0, 0, 0, 0, len(name), 0) + name
        for name in names
    ]
    whole = b"".join(headers) + kernel
    first = Entry(b"jay.png", JAY)
    begin = len(zipped()) - len(b"owl.png") - 46 - 22
    entries = []
    for number, name in enumerate(names):
        offset = begin + sum(map(len, headers[:number]))
        size = len(whole) - sum(map(len, headers[: number + 1]))
        entries.append(Entry(name, b"", size=size, packed_size=size, offset=offset, crc=0))
    body = zipped(Entry(b"hold", whole, local_name=b"", packed=whole), first, *entries)
    return body


def quine() -> bytes:
    """Return a zip in a zip in a zip; readers open only the outer one."""
    inner = zipped(Entry(b"jay.png", bytes(8 << 20), DEFLATED))
    for _ in range(5):
        inner = zipped(*(Entry(b"%d.zip" % n, inner, DEFLATED) for n in range(3)))
    return inner


def bzip2_bomb(mib: int) -> bytes:
    """Return many MiB of zeros, at about a thousandth of their size."""
    return bz2.compress(bytes(mib << 20))


def lzma_properties(size: int) -> bytes:
    """Return LZMA data with a dictionary of that many bytes."""
    data = bytearray(packed(JAY, LZMA))
    data[5:9] = struct.pack("<I", size)
    return bytes(data)
