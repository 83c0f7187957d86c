"""Tars with false, looping, overflowing or escaping headers, with expected results."""

import bz2
import gzip
import lzma
from functools import partial

from hostile.archive_case import DAMAGED, JAY, MISSING, OWL, REFUSED, TOO_LARGE, Case
from hostile.tars import (
    BLOCK,
    base256,
    deep,
    extended,
    header,
    large_dictionary,
    linked,
    links_to_folders,
    long_named,
    member,
    named,
    octal,
    padded,
    pax,
    paxed,
    record,
    sized,
    sparse,
    sparse_pax,
    tar,
    zeros,
)

GONE = (OWL, MISSING)
NONE = (REFUSED, REFUSED)
BOTH = {"owl.png": OWL, "jay.png": JAY}
_refused = partial(Case, found=NONE, laid=REFUSED)
_unlaid = partial(Case, found=GONE, laid=REFUSED)
_bad_map = partial(Case, found=(OWL, DAMAGED), laid=REFUSED)
_big = 2**70

TARS: dict[str, Case] = {
    **{
        f"a size in base 256 of {n}": _refused(partial(sized, base256(n)))
        for n in (-1, -512, -5_120, 2**62, 2**63 - 1, 2**80)
    },
    **{
        f"a size of {size!r}": _refused(partial(sized, size))
        for size in (b"garbage!!!!\0", b"-0000000001\0", b"99999999999\0", b"77777777777\0")
    },
    **{
        f"a pax size of {size[:24].decode()}": _refused(partial(paxed, record(b"size", size)))
        for size in (b"-1", b"-512", b"-100000", b"9223372036854775807", b"9" * 23, b"9" * 5_000)
    },
    **{
        f"a pax size of {size.decode() or 'nothing'}": _refused(
            partial(paxed, record(b"size", size))
        )
        for size in (b"abc", b"1e5", b"")
    },
    **{
        f"a pax record {text[:20]!r}": _refused(partial(paxed, text))
        for text in (
            *(b"-5 size=3\n", b"99999999999999999999 size=3\n", b"0 size=3\n", b"abc size=3\n"),
            *(
                b"5\n",
                b"12 size3\n\n\n\n",
                b"30 path=\xff\xfe\n",
                b"\n" * 20,
                b"9" * 4_000 + b" a=b\n",
            ),
        )
    },
    "a pax record of a million digits": _refused(
        partial(paxed, record(b"comment", b"9" * 900_000))
    ),
    **{
        f"a header of kind {kind.decode()} of {size} bytes": _refused(partial(extended, kind, size))
        for kind in (b"x", b"g", b"L", b"K")
        for size in (2**40, 2**62, -512)
    },
    "3,000 long names for one member": _refused(
        partial(deep, header(b"././@LongLink", 4, b"L") + padded(b"abc\0"))
    ),
    "3,000 pax headers for one member": _refused(partial(deep, pax(record(b"comment", b"x")))),
    "a checksum of letters": _refused(lambda: tar(header(fields={148: b"zzzzzzzz"}) + padded(JAY))),
    "a mode and a time of letters": _refused(
        lambda: tar(header(fields={100: b"zzzzzzz\0", 136: b"qqqqqqqqqqq\0"}) + padded(JAY))
    ),
    "more than there is": _refused(lambda: tar(header(size=10**9) + padded(JAY))),
    "a cut within a member": _refused(lambda: tar(member(b"jay.png", JAY * 99))[: 3 * BLOCK]),
    "a sparse map that begins below zero": _bad_map(
        lambda: sparse([(base256(-5), base256(3))], octal(100))
    ),
    "a sparse map of less than nothing": _bad_map(
        lambda: sparse([(base256(0), base256(-3))], octal(100))
    ),
    "a sparse map beyond the end": _bad_map(lambda: sparse([(octal(100), octal(90))], octal(10))),
    "a sparse map that overlaps": _bad_map(
        lambda: sparse([(octal(0), octal(60)), (octal(50), octal(30))], octal(100))
    ),
    "a sparse map of nothing over stored bytes": _bad_map(
        lambda: sparse_pax(size=b"100", offset=b"x", numbytes=b"90")
    ),
    "a sparse member of 2^70 bytes": Case(
        lambda: sparse([(octal(0), octal(90))], base256(_big)), (OWL, TOO_LARGE), REFUSED
    ),
    "a sparse member of a hole of 8 TB": Case(
        lambda: sparse([(octal(0), octal(90))], base256(8 << 40)), (OWL, TOO_LARGE), REFUSED
    ),
    "a sparse member of less than nothing": _refused(
        lambda: sparse([(octal(0), octal(90))], base256(-10))
    ),
    "a sparse map of letters": _refused(lambda: sparse([(b"garbagegarba",) * 2], octal(100))),
    "a sparse map without end": _refused(
        lambda: sparse([(octal(0), octal(90))], octal(90), b"\1", b"\1" * 3_000_000)
    ),
    "a pax sparse map of letters": _refused(lambda: sparse_pax(map=b"0,x,3", size=b"100")),
    "a pax sparse map below zero": _bad_map(lambda: sparse_pax(map=b"-5,90", size=b"100")),
    "a pax sparse map of 10^20": Case(
        lambda: sparse_pax(map=b"1" + b"0" * 20 + b",3", size=b"9" * 24), (OWL, TOO_LARGE), REFUSED
    ),
    "a pax sparse size of letters": _refused(
        lambda: sparse_pax(major=b"1", minor=b"0", realsize=b"x")
    ),
    "a pax sparse map of 10^11 entries": _refused(
        lambda: tar(
            pax(
                *(
                    record(b"GNU.sparse." + k, v)
                    for k, v in ((b"major", b"1"), (b"minor", b"0"), (b"realsize", b"10"))
                )
            ),
            member(b"jay.png", b"99999999999\n" + b"1\n" * 2_000_000),
        )
    ),
    "a link that leads out": _unlaid(lambda: linked(b"2", b"../../../etc/passwd")),
    "a link to an absolute path": _unlaid(lambda: linked(b"2", b"/etc/passwd")),
    "a link to itself": _unlaid(lambda: linked(b"2", b"jay.png")),
    "a hard link that leads out": _unlaid(lambda: linked(b"1", b"../../etc/passwd")),
    "a hard link to itself": _unlaid(lambda: linked(b"1", b"jay.png")),
    "a link to a neighbour": Case(lambda: linked(b"2", b"owl.png"), (OWL, OWL), REFUSED),
    "a hard link to a neighbour": Case(lambda: linked(b"1", b"owl.png"), (OWL, OWL), REFUSED),
    "a chain of 100 links": _unlaid(
        lambda: tar(
            header(b"jay.png", 0, b"2", b"0"),
            *(header(b"%d" % n, 0, b"2", b"%d" % (n + 1)) for n in range(100)),
        )
    ),
    "two thousand links to a folder of two thousand": Case(links_to_folders, GONE, REFUSED),
    "a character device": _unlaid(lambda: linked(b"3", b"")),
    "a block device": _unlaid(lambda: linked(b"4", b"")),
    "a fifo": _unlaid(lambda: linked(b"6", b"")),
    "a member of an unknown kind": _unlaid(lambda: tar(member(b"jay.png", JAY, kind=b"Z"))),
    "a name that leads out": _unlaid(lambda: named(b"../jay.png")),
    "a name that leads out by a folder": _unlaid(lambda: named(b"a/../../b/jay.png")),
    "an absolute name": Case(lambda: named(b"/jay.png"), (OWL, JAY), REFUSED),
    "a name of backslashes that leads out": _unlaid(lambda: named(b"..\\jay.png")),
    "the archive's own name": _unlaid(lambda: named(b"b.tar")),
    "the archive's own name in capitals": _unlaid(lambda: named(b"B.TAR")),
    "the archive's own name as a folder": _unlaid(lambda: named(b"./b.tar/x.png")),
    "the name of the marker": _unlaid(lambda: named(b".b.tar.unpacked")),
    "the name of a download": _unlaid(lambda: named(b"a/.c.zip.part")),
    "the name of a file of someone's own": _unlaid(lambda: named(b"own.json")),
    "a name with a line feed": _unlaid(lambda: named(b"a\nb.png")),
    "a name that clears a terminal": _unlaid(lambda: named(b"\x1b[2J.png")),
    "a name of a NUL": _unlaid(lambda: tar(pax(record(b"path", b"a\0b.png")), member(b"x", JAY))),
    "a name of 300 characters": _unlaid(lambda: long_named(b"o" * 300)),
    "a name of 250 characters": Case(
        lambda: long_named(b"o" * 250), GONE, {"owl.png": OWL, "o" * 250: JAY}
    ),
    "a name of 10,000 folders": _unlaid(lambda: long_named(b"o/" * 10_000 + b"x")),
    "a name of a Windows device": Case(
        lambda: named(b"CON.png"), GONE, {"owl.png": OWL, "CON.png": JAY}
    ),
    "a name that ends in dots": Case(lambda: named(b"a..."), GONE, {"owl.png": OWL, "a...": JAY}),
    "a name that is not UTF-8": Case(
        lambda: named(b"\xff\xfe.png"), GONE, {"owl.png": OWL, "\udcff\udcfe.png": JAY}
    ),
    "a file where another's folder belongs": Case(
        lambda: tar(member(b"a", b"x"), member(b"a/b", b"y")), GONE, REFUSED
    ),
    "one name twice": Case(
        lambda: tar(member(b"jay.png", b"first"), member(b"./jay.png", JAY)), (OWL, JAY), BOTH
    ),
    "a link by the name of a file before it": Case(
        lambda: tar(member(b"jay.png", JAY), header(b"jay.png", 0, b"2", b"owl.png")),
        (OWL, OWL),
        REFUSED,
    ),
    "two names that differ in case": Case(
        lambda: tar(member(b"jay.png", JAY), member(b"JAY.png", OWL)),
        (OWL, JAY),
        {**BOTH, "JAY.png": OWL},
    ),
    "a member of nothing": Case(
        lambda: tar(member(b"jay.png", b"")), (OWL, b""), {"owl.png": OWL, "jay.png": b""}
    ),
    "64 MiB of zeros by gzip": Case(partial(zeros, gzip.compress), NONE, REFUSED, "b.tar.gz"),
    "64 MiB of zeros by bzip2": Case(partial(zeros, bz2.compress), NONE, REFUSED, "b.tar.bz2"),
    "64 MiB of zeros by xz": Case(
        partial(zeros, partial(lzma.compress, preset=0)), NONE, REFUSED, "b.tar.xz"
    ),
    "xz with a dictionary of 3 GiB": Case(
        lambda: large_dictionary(tar(member(b"jay.png", JAY))), NONE, REFUSED, "b.tar.xz"
    ),
    "gzip with a wrong checksum at its end": Case(
        lambda: gzip.compress(tar(member(b"jay.png", JAY)))[:-8] + bytes(8),
        NONE,
        REFUSED,
        "b.tar.gz",
    ),
    "gzip that ends too early": Case(
        lambda: gzip.compress(tar(member(b"jay.png", JAY)))[:-30], NONE, REFUSED, "b.tar.gz"
    ),
    "xz that holds two streams": Case(
        lambda: (lambda t: lzma.compress(t[:700]) + lzma.compress(t[700:]))(
            tar(member(b"jay.png", JAY))
        ),
        NONE,
        BOTH,
        "b.tar.xz",
    ),
}
