"""Zips with false directories, overlapping or escaping members, with expected results."""

from functools import partial

from hostile.archive_case import DAMAGED, JAY, MISSING, OWL, REFUSED, TOO_LARGE, Case
from hostile.zips import (
    BZIP2,
    DEFLATED,
    DESCRIPTOR,
    ENCRYPTED,
    LZMA,
    STORED,
    UTF8,
    Entry,
    bzip2_bomb,
    jay,
    lzma_properties,
    named,
    overlapping,
    packed,
    quine,
    zip64,
    zipped,
)

METHODS = (STORED, DEFLATED, BZIP2, LZMA)
LINK = 0o120777
GONE = (OWL, MISSING)
NONE = (REFUSED, REFUSED)
BOTH = {"owl.png": OWL, "jay.png": JAY}
_refused = partial(Case, found=NONE, laid=REFUSED, file="b.zip")
_unlaid = partial(Case, found=GONE, laid=REFUSED, file="b.zip")
_damaged = partial(Case, found=(OWL, DAMAGED), laid=REFUSED, file="b.zip")
_whole = partial(Case, found=(OWL, JAY), laid=BOTH, file="b.zip")
_too_large = partial(Case, found=(OWL, TOO_LARGE), laid=REFUSED, file="b.zip")

_JAY = Entry(b"jay.png", JAY)
_with_jay = partial(zipped, _JAY)

ZIPS: dict[str, Case] = {
    **{f"a zip, method {m}": _whole(partial(jay, method=m)) for m in METHODS},
    **{f"a wrong checksum, method {m}": _damaged(partial(jay, method=m, crc=1)) for m in METHODS},
    **{
        f"a member that is cut, method {m}": _damaged(
            partial(jay, method=m, packed=packed(JAY, m)[:-9])
        )
        for m in (STORED, DEFLATED, LZMA)
    },
    "a member that is cut behind its last byte": _whole(
        partial(jay, method=BZIP2, packed=packed(JAY, BZIP2)[:-9])
    ),
    **{
        f"garbage, method {m}": _damaged(partial(jay, method=m, packed=b"\xde\xad\xbe\xef" * 20))
        for m in (DEFLATED, BZIP2, LZMA)
    },
    **{
        f"a member that states {n} bytes, method {m}": _damaged(partial(jay, method=m, size=n))
        for m in METHODS
        for n in (0, 10, 1_000)
    },
    **{
        f"method {method} ({name})": _damaged(partial(jay, method=method, packed=JAY))
        for method, name in (
            (9, "deflate64"),
            (98, "ppmd"),
            (93, "zstd"),
            (95, "xz"),
            (99, "AES"),
            (1, "shrunk"),
            (65_535, "unknown"),
        )
    },
    "an encrypted member": _damaged(partial(jay, flags=ENCRYPTED)),
    "a method that its own header does not have": _whole(partial(jay, local_method=DEFLATED)),
    "a name that its own header does not have": _damaged(partial(jay, local_name=b"tit.png")),
    "a data descriptor": _whole(partial(jay, method=DEFLATED, flags=DESCRIPTOR)),
    "an offset beyond the end": _damaged(partial(jay, offset=10_000_000)),
    "an offset of another member": _damaged(partial(jay, offset=0)),
    "an offset of no header": _damaged(partial(jay, offset=5)),
    "zip64 with right values": _whole(partial(zip64, size=len(JAY), packed_size=len(JAY))),
    "zip64 of 2^63 bytes": _too_large(partial(zip64, size=2**63)),
    "zip64 packed in 2^63 bytes": _damaged(partial(zip64, packed_size=2**63)),
    "zip64 at 2^63": _damaged(partial(zip64, offset=2**63)),
    "zip64 at 2^64 - 1": _damaged(partial(zip64, offset=2**64 - 1)),
    "a zip64 field that is cut": _refused(partial(jay, extra=b"\1\0\x08\0abc", size=0xFFFFFFFF)),
    "a zip64 field that is not there": _too_large(partial(jay, size=0xFFFFFFFF)),
    "an extra field longer than it is": _refused(partial(jay, extra=b"\x75\x70\xff\xffab")),
    "bytes before the zip": _whole(partial(_with_jay, before=b"#!/bin/sh\n" * 9)),
    "a comment": _whole(partial(_with_jay, comment=b"made by hand")),
    "a comment of the longest": _whole(partial(_with_jay, comment=b"c" * 65_535)),
    "a comment that holds an end record": _refused(
        partial(_with_jay, comment=b"PK\5\6" + b"\xff" * 30)
    ),
    "a comment that holds an empty end record": Case(
        partial(_with_jay, comment=b"PK\5\6" + bytes(18)),
        (MISSING, MISSING),
        REFUSED,
        "b.zip",
    ),
    "a cut within the end record": _refused(partial(_with_jay, cut=5)),
    "a cut within the directory": _refused(partial(_with_jay, cut=40)),
    "a cut within a member": _refused(partial(_with_jay, cut=150)),
    "the second of several disks": _whole(partial(_with_jay, end={"disk": 1})),
    "a member of another disk": _whole(partial(jay, disk=3)),
    "a count of none": _whole(partial(_with_jay, end={"count": 0})),
    "a count of 65,535": _whole(partial(_with_jay, end={"count": 65_535})),
    "a directory of 4 GB": _refused(partial(_with_jay, end={"size": 0xFFFFFFF0})),
    "a directory of a byte": _refused(partial(_with_jay, end={"size": 1})),
    "a directory beyond the end": Case(
        partial(_with_jay, end={"offset": 0xFFFFFFF0}),
        (DAMAGED, DAMAGED),
        REFUSED,
        "b.zip",
    ),
    "a name of a NUL": _whole(partial(named, b"jay.png\0.exe")),
    "a name that is said to be UTF-8": _refused(partial(named, b"\xff\xfe.png", flags=UTF8)),
    "a name that leads out": _unlaid(partial(named, b"../jay.png")),
    "a name that leads out by a folder": _unlaid(partial(named, b"a/../../b/jay.png")),
    "an absolute name": Case(partial(named, b"/jay.png"), (OWL, JAY), REFUSED, "b.zip"),
    "a name of backslashes that leads out": _unlaid(partial(named, b"..\\jay.png")),
    "a drive's name": Case(
        partial(named, b"C:/jay.png"), GONE, {"owl.png": OWL, "C:/jay.png": JAY}, "b.zip"
    ),
    "the zip's own name": _unlaid(partial(named, b"b.zip")),
    "the zip's own name in capitals": _unlaid(partial(named, b"B.Zip")),
    "the name of the zip's marker": _unlaid(partial(named, b".b.zip.unpacked")),
    "the name of a file that is being written": _unlaid(partial(named, b"a/.jay.png.partial")),
    "someone's own file": _unlaid(partial(named, b"own.json")),
    "a name with a line feed in a zip": _unlaid(partial(named, b"a\nb.png")),
    "a name of 60,000 characters": _unlaid(partial(named, b"o" * 60_000)),
    "an empty name": Case(partial(named, b""), GONE, REFUSED, "b.zip"),
    "a name twice": Case(
        partial(zipped, Entry(b"jay.png", b"first"), Entry(b"./jay.png", JAY)),
        (OWL, JAY),
        BOTH,
        "b.zip",
    ),
    "a link in a zip that leads out": _unlaid(
        partial(zipped, Entry(b"jay.png", b"../../etc/passwd", mode=LINK))
    ),
    "a link in a zip to a neighbour": Case(
        partial(zipped, Entry(b"jay.png", b"owl.png", mode=LINK)), (OWL, OWL), REFUSED, "b.zip"
    ),
    "a link in a zip to itself": _unlaid(partial(zipped, Entry(b"jay.png", b"jay.png", mode=LINK))),
    "a link that is a bomb": _unlaid(
        partial(zipped, Entry(b"jay.png", b"", BZIP2, mode=LINK, size=100, packed=bzip2_bomb(256)))
    ),
    "a device in a zip": Case(partial(jay, mode=0o020666), (OWL, JAY), REFUSED, "b.zip"),
    "a member of nothing in a zip": Case(
        partial(zipped, Entry(b"jay.png", b"")),
        (OWL, b""),
        {"owl.png": OWL, "jay.png": b""},
        "b.zip",
    ),
    "64 MiB of zeros by deflate": _too_large(
        partial(zipped, Entry(b"jay.png", bytes(64 << 20), DEFLATED))
    ),
    "zeros by bzip2 that state 100 bytes": _damaged(
        partial(jay, method=BZIP2, size=100, packed=bzip2_bomb(256))
    ),
    "zeros by deflate that state 100 bytes": _damaged(
        partial(jay, method=DEFLATED, size=100, packed=packed(bytes(32 << 20), DEFLATED))
    ),
    "zeros by LZMA that state 100 bytes": _damaged(
        partial(jay, method=LZMA, size=100, packed=packed(bytes(256 << 20), LZMA))
    ),
    "LZMA with a dictionary of 4 GB": _damaged(
        partial(jay, method=LZMA, packed=lzma_properties(0xFFFFFFFF))
    ),
    "LZMA without properties": _damaged(partial(jay, method=LZMA, packed=b"\x09\x14\x02\0" + JAY)),
    "members that hold one another": Case(overlapping, (OWL, JAY), REFUSED, "b.zip"),
    "zips within zips": Case(quine, GONE, None, "b.zip"),
    "20,000 members": Case(
        lambda: zipped(*(Entry(b"%d.png" % n, b"") for n in range(20_000))), GONE, REFUSED, "b.zip"
    ),
}
