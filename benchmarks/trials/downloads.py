"""Faulty servers: a download gives the right bytes or a named error.

Each fault is tried on a file whose manifest states all, its sha256, its size, or nothing. Never do
wrong bytes lie in the file's place, and never does a lock hold what was refused.
"""

import gzip
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from unittest.mock import patch

import httpx
from scripted_server import Answer, Pause, Request, Reset, Step, scripted

from imp_data.errors import UserError
from imp_data.manifests import ImageCollection, UpstreamFile
from imp_data.manifests.lockfile import LockFiles
from imp_data.raw import download, minimum_speed, redirects, retries
from imp_data.raw.fetch import fetch_files
from trials import Outcome

BODY = bytes(range(256)) * 400
PACKED = gzip.compress(BODY, mtime=0)
PAGE = b"<!doctype html><html><body>Too many requests</body></html>"
ALL, SHA256, SIZE, NOTHING = "all", "sha256", "size", "nothing"
STATED = (ALL, SHA256, SIZE, NOTHING)
UNSURE, BOTH_ENDS = (SIZE, NOTHING), (ALL, NOTHING)
MOST_BYTES = 1 << 20
AGAIN = "fails again and again"


class Fault(NamedTuple):
    """The script of a server and its expected result.

    `refused` is part of the refusal; "" where the right bytes must come. `unless`: where something
    else holds by what the manifest states.
    """

    name: str
    answers: Sequence[Answer]
    refused: str = ""
    unless: Mapping[str, str] = MappingProxyType({})
    stated: Sequence[str] = STATED
    path: str = "data.bin"
    body: bytes = BODY


def said(
    status: int = 200,
    body: bytes = BODY,
    cut: int | None = None,
    chunked: bool = False,
    then: Step | None = None,
    **headers: Any,
) -> Answer:
    """An answer with these headers; `length` False leaves out Content-Length, a number replaces it.

    The body ends after `cut` bytes.
    """
    fields = {name.replace("_", "-"): value for name, value in headers.items() if name != "length"}
    length = headers.get("length", True)
    if chunked:
        fields["Transfer-Encoding"] = "chunked"
    elif length is not False:
        fields["Content-Length"] = len(body) if length is True else length

    def answer(request: Request) -> Iterator[Step]:
        lines = [f"HTTP/1.1 {status} Said", *(f"{n}: {v}" for n, v in fields.items())]
        yield "\r\n".join([*lines, "Connection: close", "", ""]).encode()
        yield from _chunks(body, cut) if chunked else [body[:cut]]
        if then is not None:
            yield then

    return answer


def _chunks(body: bytes, cut: int | None) -> Iterator[bytes]:
    shown = body[:cut]
    for start in range(0, len(shown), 10_000):
        block = shown[start : start + 10_000]
        yield b"%x\r\n%s\r\n" % (len(block), block)
    if cut is None:
        yield b"0\r\n\r\n"


def ranged(
    body: bytes = BODY,
    piece: int | None = None,
    span: str = "bytes {begin}-{last}/{total}",
    cut: int | None = None,
    **headers: Any,
) -> Answer:
    """The whole, or from where it is asked for a piece of so many bytes (none: all the rest)."""

    def answer(request: Request) -> Iterator[Step]:
        begin = request.begin()
        if begin is None:
            return said(body=body, cut=cut, **headers)(request)
        if begin >= len(body):
            return said(416, b"", Content_Range=f"bytes */{len(body)}")(request)
        rest = body[begin:][:piece]
        last = begin + len(rest) - 1
        told = span.format(begin=begin, last=last, total=len(body))
        fields = {"Content_Range": told, **headers} if told else headers
        return said(206, rest, **fields)(request)

    return answer


def raw(*steps: Step) -> Answer:
    """These bytes and pauses."""
    return lambda request: iter(steps)


def led(to: str, status: int = 302) -> Answer:
    """Return a redirect; `{port}` is the server's own."""

    def answer(request: Request) -> Iterator[Step]:
        port = request.headers["host"].rpartition(":")[2]
        return said(status, b"", Location=to.format(port=port))(request)

    return answer


def endless(chunked: bool, block: bytes = bytes(65536)) -> Answer:
    """Return an answer without end."""

    def answer(request: Request) -> Iterator[Step]:
        head = "Transfer-Encoding: chunked" if chunked else "X-End: none"
        yield f"HTTP/1.1 200 OK\r\n{head}\r\nConnection: close\r\n\r\n".encode()
        while True:
            yield b"%x\r\n%s\r\n" % (len(block), block) if chunked else block

    return answer


def slow(step: bytes, seconds: float, begin: bytes = b"") -> Answer:
    """One step after another, each after a while."""

    def answer(request: Request) -> Iterator[Step]:
        yield begin
        while True:
            yield step
            yield Pause(seconds)

    return answer


OK = said()
ETAG = {"ETag": '"one"'}
CUT = said(cut=30_000, **ETAG)
WHOLE = ranged(**ETAG)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 102400\r\n\r\n"
UNENDED = "does not say where the file ends"
INSIDE = "of this machine or its network"
UNASKED = "although the whole was asked for"

FAULTS = [
    # Answers that are right, in all their forms.
    Fault("a file of known length", [OK]),
    Fault("a file in chunks", [said(chunked=True)]),
    Fault("a file that ends with the connection", [said(length=False)], "", {NOTHING: UNENDED}),
    Fault("an encoding that is none", [said(Content_Encoding="aws-chunked")]),
    Fault("more than Content-Length follows", [said(then=b"more")]),
    Fault("a redirect to another path", [led("/other"), OK]),
    Fault("five redirects", [led("/1", n) for n in (301, 302, 303, 307, 308)] + [OK]),
    Fault(
        "a .tar.gz that is called encoded",
        [said(body=PACKED, Content_Encoding="x-gzip")],
        path="data.tar.gz",
        body=PACKED,
    ),
    # Interruptions.
    Fault("a cut, then the rest", [CUT, WHOLE]),
    Fault("a cut in chunks, then the rest", [said(cut=30_000, chunked=True, **ETAG), WHOLE]),
    Fault("a cut, then the whole", [CUT, said(**ETAG)]),
    Fault("a reset, then the rest", [said(cut=30_000, then=Reset(), **ETAG), WHOLE]),
    Fault("a reset before any answer", [raw(Reset()), OK]),
    Fault("a close before any answer", [raw(), OK]),
    Fault("never an answer", [raw()], AGAIN),
    Fault("always a reset", [raw(Reset())], AGAIN),
    Fault("always the same cut", [said(cut=30_000)], AGAIN),
    Fault("always the same cut in chunks", [said(cut=30_000, chunked=True)], AGAIN),
    Fault("a silence in the body, then the rest", [said(cut=9, then=Pause(9), **ETAG), WHOLE]),
    Fault("a silence in the headers, then the file", [raw(HEAD[:30], Pause(9)), OK]),
    Fault("a silence each time", [raw(HEAD, b"x", Pause(9))], AGAIN),
    Fault("a connection closed in the headers", [raw(HEAD[:30]), OK]),
    # Bytes that come too slowly, and requests that bring too little.
    Fault("a byte now and then", [slow(b"x", 0.02, HEAD)], "bytes in "),
    Fault(
        "headers byte by byte", [slow(b"x", 0.02, b"HTTP/1.1 200 OK\r\nX: ")], "no answer within"
    ),
    Fault("100 Continue for ever", [slow(b"HTTP/1.1 100 Go on\r\n\r\n", 0.02)], "no answer within"),
    Fault("pieces of one byte", [CUT, ranged(piece=1, **ETAG)], "bytes in 100 requests"),
    # Parts.
    Fault("a part, unasked", [said(206, BODY[:10], Content_Range="bytes 0-9/102400")], UNASKED),
    Fault("the whole as a part", [said(206, Content_Range="bytes 0-102399/102400")], UNASKED),
    Fault("a part without its range", [said(206, BODY[:10])], UNASKED),
    Fault("the rest in pieces", [CUT, ranged(piece=20_000, **ETAG)]),
    Fault(
        "the rest in pieces of an untold whole",
        [CUT, ranged(piece=20_000, span="bytes {begin}-{last}/*", **ETAG)],
    ),
    Fault("another part than asked for", [CUT, ranged(span="bytes 7-{last}/{total}"), OK]),
    Fault("a part of a larger whole", [CUT, ranged(span="bytes {begin}-{last}/999999"), OK]),
    Fault("a part beyond the whole", [CUT, ranged(span="bytes {begin}-{last}/40000"), OK]),
    Fault("a part that ends before it begins", [CUT, ranged(span="bytes {begin}-5/{total}"), OK]),
    Fault("a part of digits", [CUT, ranged(span="bytes {begin}-" + "9" * 99 + "/*", **ETAG), OK]),
    Fault("a part of words", [CUT, ranged(span="bytes of a file"), OK]),
    Fault("a part that says no range", [CUT, ranged(span=""), OK]),
    Fault("a part in another unit", [CUT, ranged(span="items {begin}-{last}/{total}"), OK]),
    Fault("a part of two lengths", [CUT, ranged(length=7, **ETAG), OK]),
    Fault(
        "a part longer than it says",
        [CUT, ranged(span="bytes {begin}-40000/*", length=False, **ETAG), OK],
    ),
    Fault(
        "a part shorter than it says",
        [CUT, ranged(piece=9, span="bytes {begin}-102399/102400", length=False, **ETAG), OK],
    ),
    Fault("several parts at once", [CUT, ranged(span="", Content_Type="multipart/byteranges"), OK]),
    Fault("a part of another version", [CUT, ranged(BODY[::-1], ETag='"two"'), OK]),
    Fault("a part of no version", [CUT, ranged(BODY[::-1]), OK]),
    Fault("the whole of another version", [said(body=BODY[::-1], cut=9, ETag='"old"'), WHOLE]),
    Fault("a weak version", [said(body=BODY[::-1], cut=9, ETag='W/"one"'), ranged(ETag='W/"one"')]),
    Fault(
        "a version told by its date",
        [said(cut=9, Last_Modified="Monday"), ranged(Last_Modified="Monday")],
    ),
    Fault(
        "a date of another version",
        [said(body=BODY[::-1], cut=9, Last_Modified="Monday"), ranged(Last_Modified="Sunday")],
    ),
    Fault("no range to be had", [CUT, said(416, b""), OK]),
    Fault("no range of a shorter file", [CUT, said(416, b"", Content_Range="bytes */9"), OK]),
    Fault(
        "no range of the file that is whole",
        [said(length=len(BODY) + 9, **ETAG), said(416, b"", Content_Range=f"bytes */{len(BODY)}")],
        "",
        {ALL: "has 102,409 bytes", SIZE: "has 102,409 bytes"},
    ),
    # What is not the file.
    Fault(
        "an empty answer",
        [said(body=b"")],
        "",
        {ALL: "has 0 bytes", SIZE: "has 0 bytes", SHA256: "has sha256", NOTHING: "empty body"},
    ),
    Fault(
        "an empty answer in chunks",
        [said(body=b"", chunked=True)],
        "empty body",
        {ALL: "has 0 bytes", SHA256: "has sha256"},
    ),
    Fault(
        "a web page",
        [said(body=PAGE, Content_Type="text/html; charset=utf-8")],
        "HTML",
        {ALL: "has 58 bytes", SHA256: "has sha256"},
    ),
    Fault(
        "a web page of the same size",
        [said(body=PAGE.ljust(len(BODY)), Content_Type="text/html")],
        "HTML",
        {ALL: "has sha256", SHA256: "has sha256"},
    ),
    Fault(
        "a web page that is not called one",
        [said(body=PAGE.ljust(len(BODY)))],
        "is an HTML page",
        {ALL: "has sha256", SHA256: "has sha256"},
    ),
    Fault(
        "a web page for an archive",
        [said(body=PAGE.ljust(len(BODY)))],
        "is an HTML page",
        {ALL: "has sha256", SHA256: "has sha256"},
        path="data.zip",
    ),
    Fault(
        "a Git LFS pointer",
        [said(body=b"version https://git-lfs.github.com/spec/v1\n".ljust(len(BODY)))],
        "Git LFS",
        {ALL: "has sha256", SHA256: "has sha256"},
    ),
    Fault(
        "gzip for identity",
        [said(body=PACKED, Content_Encoding="gzip")],
        "encoded (Content-Encoding: gzip)",
    ),
    Fault("br for identity", [said(Content_Encoding="br")], "encoded (Content-Encoding: br)"),
    Fault(
        "a Transfer-Encoding of gzip", [said(body=PACKED, Transfer_Encoding="gzip, chunked")], AGAIN
    ),
    Fault(
        "other bytes of the same size", [said(body=BODY[::-1])], "has sha256", stated=(ALL, SHA256)
    ),
    Fault(
        "a longer file",
        [said(body=BODY + b"x")],
        "",
        {ALL: "has 102,401 bytes", SIZE: "has 102,401 bytes", SHA256: "has sha256"},
        stated=(ALL, SHA256, SIZE),
    ),
    Fault(
        "a longer file in chunks",
        [said(body=BODY + b"x", chunked=True)],
        "",
        {ALL: "sends more than", SIZE: "sends more than", SHA256: "has sha256"},
        stated=(ALL, SHA256, SIZE),
    ),
    Fault("bytes without an end", [endless(chunked=False)], "sends more than", {NOTHING: UNENDED}),
    Fault("chunks without an end", [endless(chunked=True)], "sends more than"),
    Fault("a huge Content-Length", [said(length=10**15)], "bytes"),
    # Words that contradict one another.
    Fault(
        "two lengths",
        [raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 102400\r\n\r\n", BODY)],
        AGAIN,
    ),
    Fault("a negative length", [said(length=-1)], AGAIN),
    Fault("a length in words", [said(length="many")], AGAIN),
    Fault("a status in words", [raw(b"HTTP/1.1 fine OK\r\n\r\n", BODY)], AGAIN),
    Fault("bytes without headers", [raw(BODY)], AGAIN),
    Fault(
        "headers without an end",
        [slow(b"X: " + b"y" * 9000 + b"\r\n", 0, b"HTTP/1.1 200 OK\r\n")],
        AGAIN,
    ),
    Fault("a header of zeros", [raw(b"HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n", BODY)], AGAIN),
    Fault(
        "a chunk of no size",
        [raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", BODY)],
        AGAIN,
    ),
    Fault(
        "a chunk of negative size",
        [raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", BODY)],
        AGAIN,
    ),
    Fault(
        "a chunk that is cut",
        [raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n19000\r\n", BODY[:9])],
        AGAIN,
    ),
    # Statuses.
    *(
        Fault(f"HTTP {n}", [said(n, b"")], f"answers HTTP {n}", stated=BOTH_ENDS)
        for n in (204, 300, 304, 305, 400, 401, 403, 404, 410, 418, 451)
    ),
    *(
        Fault(f"HTTP {n} with the file", [said(n)], f"answers HTTP {n}", stated=BOTH_ENDS)
        for n in (201, 203, 404)
    ),
    *(
        Fault(f"HTTP {n} once", [said(n, b"busy"), OK], stated=BOTH_ENDS)
        for n in (408, 429, 500, 502, 503, 504)
    ),
    *(
        Fault(f"HTTP {n} for ever", [said(n, b"busy")], AGAIN, stated=BOTH_ENDS)
        for n in (429, 500, 503)
    ),
    *(
        Fault(f"Retry-After: {v[:30]}", [said(503, b"", Retry_After=v), OK], stated=BOTH_ENDS)
        for v in ("-1", "nan", "9" * 400, "soon", "Mon, 01 Jan 0001 00:00:00 -2359", "1e9")
    ),
    # Redirects.
    Fault("a redirect to itself", [led("/")], "redirects more than"),
    Fault("a redirect without an address", [said(302, b"")], "answers HTTP 302"),
    Fault("a redirect to no address", [led("http://[::1")], "to what is no address"),
    Fault("a redirect to a file", [led("file:///etc/passwd")], "protocol"),
    Fault("a redirect to another protocol", [led("ftp://127.0.0.1/x")], "protocol"),
    *(
        Fault(
            f"a redirect to {host}", [led(f"http://{host}:{{port}}/"), OK], INSIDE, stated=BOTH_ENDS
        )
        for host in (
            "localhost",
            "localhost.",
            "a.localhost",
            "[::1]",
            "127.0.0.2",
            "127.1",
            "2130706434",
            "0x7f000002",
            "0.0.0.0",
            "[::ffff:127.0.0.2]",
            "[64:ff9b::7f00:2]",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "[fe80::1]",
            "[fd00::1]",
            "224.0.0.1",
        )
    ),
]


@contextmanager
def hurried() -> Iterator[None]:
    """No pause between attempts; silences, windows and limits of a fraction of a second."""
    with (
        patch.object(retries, "sleep", lambda seconds: None),
        patch.object(download, "_TIMEOUT", httpx.Timeout(0.15)),
        patch.object(minimum_speed, "WINDOW_SECONDS", 0.1),
        patch.object(redirects, "HEADERS_SECONDS", 0.12),
        patch.dict("os.environ", {"NO_PROXY": "*"}),
    ):
        yield


def manifest_of(fault: Fault, stated: str, url: str) -> ImageCollection:
    """A manifest that states so much of the fault's file."""
    digest = hashlib.sha256(fault.body).hexdigest()
    file = UpstreamFile(
        path=fault.path,
        url=f"{url}/{fault.path}",
        bytes=len(fault.body) if stated in (ALL, SIZE) else None,
        sha256=digest if stated in (ALL, SHA256) else None,
        max_bytes=MOST_BYTES,
    )
    about = {"name": "birds", "title": "Birds", "homepage": "", "license": "MIT"}
    return ImageCollection(**about, files=(file,), folders=({"path": "birds"},))


def failure(fault: Fault, stated: str, folder: Path) -> str | None:
    """What does not hold where a server has that fault; None if all does."""
    room = folder / "manifests" / "images"
    room.mkdir(parents=True)
    (room / "birds.yaml").touch()
    target, refused = folder / fault.path, fault.unless.get(stated, fault.refused)
    with scripted(*fault.answers) as server, hurried():
        published = manifest_of(fault, stated, server.url)
        try:
            fetch_files([published], folder, (), LockFiles(room.parent, folder / "locks"))
        except UserError as error:
            if not refused:
                return f"was refused: {error}"
            if refused not in str(error):
                return f"was refused otherwise: {error}"
    if target.exists() and target.read_bytes() != fault.body:
        return "other bytes lie in the file's place"
    if target.exists() == bool(refused):
        return "was accepted" if refused else "has not come"
    locked = (room / "birds.lock").exists()
    if locked != (not refused and stated in UNSURE):
        return "is locked" if locked else "is not locked"
    return None


def trials(folder: Path, seed: int) -> Iterator[Outcome]:
    """Run each fault with each level of detail in the manifest."""
    cases = [(fault, stated) for fault in FAULTS for stated in fault.stated]
    for number, (fault, stated) in enumerate(cases):
        try:
            why = failure(fault, stated, folder / str(number))
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        yield Outcome(f"{fault.name}, {stated} stated", why)
