"""Build tars header by header."""

import lzma
from collections.abc import Callable, Mapping

from hostile.archive_case import JAY, OWL

BLOCK = 512


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def octal(number: int) -> bytes:
    return b"%011o\0" % number


def base256(number: int) -> bytes:
    sign = b"\x80" if number >= 0 else b"\xff"
    return sign + (number & ((1 << 88) - 1)).to_bytes(11, "big")


def header(
    name: bytes = b"jay.png",
    size: bytes | int = len(JAY),
    kind: bytes = b"0",
    link: bytes = b"",
    fields: Mapping[int, bytes] | None = None,
) -> bytes:
    """Return a header with a valid checksum; `fields` overrides fields by offset."""
    block = bytearray(BLOCK)
    stated = octal(size) if isinstance(size, int) else size
    plain = {0: name, 100: b"0000644\0", 108: b"0000000\0", 116: b"0000000\0", 124: stated}
    plain |= {136: octal(0), 156: kind, 157: link, 257: b"ustar\00000", **(fields or {})}
    for place, data in plain.items():
        block[place : place + len(data)] = data
    block[148:156] = b" " * 8
    if fields is None or 148 not in fields:
        block[148:156] = b"%06o\0 " % sum(block)
    else:
        block[148:156] = fields[148]
    return bytes(block)


def member(name: bytes, data: bytes, **how: bytes) -> bytes:
    return header(name, len(data), **how) + padded(data)  # type: ignore[arg-type]


def tar(*parts: bytes) -> bytes:
    """Return a tar of owl.png followed by the given members."""
    return b"".join([member(b"owl.png", OWL), *parts, bytes(2 * BLOCK)])


def record(key: bytes, value: bytes) -> bytes:
    size = len(key) + len(value) + 3
    while len(str(size)) + len(key) + len(value) + 3 != size:
        size = len(str(size)) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (size, key, value)


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    data = b"".join(records)
    return header(b"PaxHeader", len(data), kind) + padded(data)


def paxed(*records: bytes) -> bytes:
    return tar(pax(*records), member(b"jay.png", JAY))


def sized(size: bytes) -> bytes:
    return tar(header(size=size) + padded(JAY))


def sparse(
    spans: list[tuple[bytes, bytes]], real: bytes, extended: bytes = b"\0", more: bytes = b""
) -> bytes:
    """The old GNU form: a map in the header, and as many blocks more as say that one follows."""
    fields = {386: b"".join(n for span in spans for n in span), 482: extended, 483: real}
    fields[257] = b"ustar  \0"
    return tar(header(kind=b"S", fields=fields) + more + padded(JAY))


def sparse_pax(**values: bytes) -> bytes:
    return paxed(*(record(b"GNU.sparse." + k.encode(), v) for k, v in values.items()))


def extended(kind: bytes, size: int) -> bytes:
    return tar(header(b"PaxHeader", base256(size), kind), member(b"jay.png", JAY))


def deep(part: bytes) -> bytes:
    return tar(part * 3_000, member(b"jay.png", JAY))


def linked(kind: bytes, target: bytes) -> bytes:
    return tar(header(b"jay.png", 0, kind, target))


def named(name: bytes) -> bytes:
    return tar(member(name, JAY))


def long_named(name: bytes) -> bytes:
    data = name + b"\0"
    return tar(header(b"././@LongLink", len(data), b"L") + padded(data) + member(b"x", JAY))


def links_to_folders() -> bytes:
    """Return 2,000 links to a folder of 2,000 files: four million names."""
    files = b"".join(member(b"d/%d.png" % n, b"") for n in range(2_000))
    return tar(files, *(header(b"l%d" % n, 0, b"2", b"d") for n in range(2_000)))


def zeros(packed: Callable[[bytes], bytes], mib: int = 64) -> bytes:
    """Return a member of zeros, compressed to a thousandth or less."""
    return packed(tar(header(b"jay.png", mib << 20) + bytes(mib << 20)))


def large_dictionary(data: bytes) -> bytes:
    """Return xz data with a dictionary of 1.5 GiB, which the reader must allocate."""
    how = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    stream = bytearray(lzma.compress(data, filters=how))
    place = stream.index(b"\x21\x01", 12)  # the filter's number and the size of its properties
    stream[place + 2] = 39  # 3 GiB
    head = bytes(stream[12 : 12 + (stream[12] + 1) * 4 - 4])
    stream[12 + len(head) : 16 + len(head)] = _crc32(head)
    return bytes(stream)


def _crc32(data: bytes) -> bytes:
    import zlib

    return zlib.crc32(data).to_bytes(4, "little")
