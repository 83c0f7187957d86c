"""Hostile requests to the chat as bytes on the wire, with the status that each must get."""

import base64
import io
import json
import socket
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from PIL import Image

HELLO = {"role": "user", "content": "Hello"}
CHAT = "/v1/chat/completions"


class Reply(NamedTuple):
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Hostile(NamedTuple):
    """A named request: expected status, and the bytes to send to a host such as 127.0.0.1:8080."""

    name: str
    status: int
    raw: Callable[[str], bytes]


def wire(
    host: str, body: bytes = b"", *lines: str, method: str = "POST", path: str = CHAT
) -> bytes:
    """Return a request; a line such as "Host: x" replaces the default one, "Host" removes it."""
    usual = {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(body))}
    named = {line.partition(":")[0].strip() for line in lines}
    kept = [f"{name}: {value}" for name, value in usual.items() if name not in named]
    head = [f"{method} {path} HTTP/1.1", *kept, *(line for line in lines if ":" in line)]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def exchanged(host: str, raw: bytes, timeout: float = 30) -> Reply:
    """Send bytes and read the reply. Raise OSError or HTTPException if there is none."""
    name, port = urlsplit(f"//{host}").hostname, urlsplit(f"//{host}").port
    with socket.create_connection((name, port or 80), timeout) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # answered before it was read
            connection.sendall(raw)
        response = HTTPResponse(connection, method=raw[:5].decode("latin-1").strip())
        response.begin()
        return Reply(response.status, dict(response.getheaders()), response.read())


def fault(reply: Reply, status: int, secrets: tuple[str, ...] = ()) -> str | None:
    """Return the problem of a reply to a hostile request, or None."""
    if reply.status != status:
        return f"status {reply.status} instead of {status}: {reply.body[:200]!r}"
    headers = {name.lower(): value for name, value in reply.headers.items()}
    if headers.get("x-content-type-options") != "nosniff":
        return "without nosniff"
    if any(name.startswith("access-control-") for name in headers):
        return "with a CORS header"
    if any(secret.encode() in reply.body for secret in secrets):
        return f"names a path of the server: {reply.body[:200]!r}"
    try:
        error = json.loads(reply.body)["error"]
    except (ValueError, KeyError, TypeError):
        return f"no error in OpenAI's form: {reply.body[:200]!r}"
    told = set(error) == {"message", "type", "param", "code"} and error["message"]
    right = told and error["type"] == "invalid_request_error" and len(reply.body) < 1000
    return None if right else f"no clear error: {reply.body[:200]!r}"


def answered(host: str) -> str | None:
    """Send a valid request and return the problem of its answer, or None."""
    body = json.dumps({"messages": [HELLO], "max_tokens": 2}).encode()
    try:
        reply = exchanged(host, wire(host, body))
    except (OSError, HTTPException) as failure:
        return f"a good request got no answer: {failure!r}"
    return None if reply.status == 200 else f"a good request got status {reply.status}"


def hostile_requests() -> Iterator[Hostile]:
    """Yield all hostile requests, each with a unique name."""
    yield from _bodies()
    yield from _fields()
    yield from _messages()
    yield from _parts()
    yield from _images()
    yield from _http()


def _sent(name: str, body: bytes, status: int = 400, *lines: str) -> Hostile:
    return Hostile(name, status, lambda host: wire(host, body, *lines))


def _asked(name: str, status: int = 400, **fields: Any) -> Hostile:
    return _sent(name, json.dumps({"messages": [HELLO], **fields}).encode(), status)


def _bodies() -> Iterator[Hostile]:
    hello, deep = json.dumps(HELLO), "[" * 900 + "]" * 900
    good = f'{{"messages": [{hello}]}}'
    texts = {
        "nothing": "",
        "a brace": "{",
        "null": "null",
        "a list": "[]",
        "a string": '"messages"',
        "a number": "5",
        "NaN alone": "NaN",
        "an empty object": "{}",
        "lists 2,000 deep": "[" * 2000 + "]" * 2000,
        "objects 2,000 deep": '{"a":' * 2000 + "1" + "}" * 2000,
        "metadata 900 deep": f'{{"metadata": {deep}, "messages": [{hello}]}}',
        "a format 900 deep": f'{{"response_format": {{"type": {deep}}}, "messages": [{hello}]}}',
        "messages 900 deep": f'{{"messages": {deep}}}',
        "half a character in a text": '{"messages": [{"role": "user", "content": "\\ud800"}]}',
        "half a character as role": '{"messages": [{"role": "\\udfff", "content": "x"}]}',
        "half a character as field": f'{{"\\ud800": 1, "messages": [{hello}]}}',
        "NaN": f'{{"temperature": NaN, "messages": [{hello}]}}',
        "Infinity": f'{{"top_p": Infinity, "messages": [{hello}]}}',
        "1e999": f'{{"temperature": 1e999, "messages": [{hello}]}}',
        "-1e999": f'{{"presence_penalty": -1e999, "messages": [{hello}]}}',
        "NaN in a format": f'{{"response_format": {{"type": NaN}}, "messages": [{hello}]}}',
        "a number of 400 digits": f'{{"seed": {"9" * 400}, "messages": [{hello}]}}',
        "a number of 5,000 digits": f'{{"max_tokens": {"9" * 5000}, "messages": [{hello}]}}',
        "messages twice": f'{{"messages": [{hello}], "messages": [{hello}]}}',
        "role twice": '{"messages": [{"role": "user", "role": "system", "content": "x"}]}',
        "more behind it": good + "x",
        "two of them": good + good,
        "a comment": "/* */" + good,
        "single quotes": good.replace('"', "'"),
        "a comma too many": good[:-1] + ",}",
        "a bare line end in a text": good.replace("Hello", "Hel\nlo"),
        "a bare NUL in a text": good.replace("Hello", "Hel\0lo"),
        "an unknown escape": good.replace("Hello", "\\x41"),
        "cut in the middle": good[:20],
    }
    for name, text in texts.items():
        yield _sent(f"a body of {name}", text.encode())
    yield _sent("a body of lists 100,000 deep", b"[" * 100_000 + b"]" * 100_000)
    yield _sent("a body of objects 50,000 deep", b'{"a":' * 50_000 + b"1" + b"}" * 50_000)
    yield _sent("a body of 200,000 values", b"[" + b"1," * 200_000 + b"1]", 413)
    yield _sent("a body of 9 million objects", b"[" + b"{}," * 8_000_000 + b"{}]", 413)
    yield _sent("a body of bytes that are no UTF-8", good.replace("Hello", "ÿ").encode("latin-1"))
    yield _sent("a body of overlong UTF-8", good.encode().replace(b"Hello", b"\xc0\xaf"))
    yield _sent("a body in UTF-16", good.encode("utf-16"))
    yield _sent("a body in UTF-32", good.encode("utf-32"))
    yield _sent("a body with a byte order mark", b"\xef\xbb\xbf" + good.encode())
    yield _sent("a compressed body", zlib.compress(good.encode()), 400, "Content-Encoding: gzip")
    yield _sent("a body of a form", b"messages=hello", 400)
    yield _sent(
        "a body of a form with a file", b"--x\r\nContent-Disposition: form-data\r\n\r\n--x--"
    )
    yield _sent("a body of 25 MiB", b" " * (25 << 20), 413)


_WRONG: Mapping[str, list[Any]] = {
    "temperature": [-1, 2.1, "1", True, [], {}, 10**30, -(2**63)],
    "max_tokens": [0, -1, 1.5, "5", True, 2**31, 2**64, [5]],
    "max_completion_tokens": [0, -(10**20), False],
    "seed": [2**63, 1.5, "x", True, -(2**63) - 1],
    "top_p": [-0.1, 1.1, "0.5"],
    "top_k": [-2, 0.5, 2**31],
    "min_p": [-1, {}],
    "n": [0, 2, True, 1.0, "1", 10**30],
    "n_probs": [-1, 101],
    "frequency_penalty": [-3, "x"],
    "top_logprobs": [21, -1, True],
    "logprobs": [1, "true"],
    "stop": ["", [""], 5, [5], {}, ["x"] * 17],
    "stream": [1, "true", []],
    "stream_options": [5, {"x": True}, {"include_usage": 1}],
    "logit_bias": [[], 5, {"a": 1}, {"5": 101}, {"5": True}, {"5": "x"}, {"-1": 1}, {"٣": 1}],
    "response_format": ["text", {}, {"type": "xml"}, {"type": ["text"]}, {"type": {}}, [], 5],
    "tools": [[{"type": "function"}], {}, "x"],
    "tool_choice": ["required", {"type": "function"}],
    "model": [5, [], {}],
    "user": [5],
    "metadata": [[], "x", 5],
    "modalities": [["audio"], []],
    "grammar": ['root ::= "x"'],
    "json_schema": [{}],
    "lora": [[]],
    "prompt": ["x"],
    "id_slot": [0],
    "__proto__": [{}],
    "": [1],
    "x" * 10_000: [1],
    "\0": [1],
    "<script>alert(1)</script>": [1],
}


def _fields() -> Iterator[Hostile]:
    for field, values in _WRONG.items():
        for value in values:
            text = json.dumps(value)[:40]
            yield _asked(f"{field[:30]!r} of {text}", **{field: value})
    optional = {f"p{number}": {"type": "string"} for number in range(300)}
    for name, schema in {
        "300 properties": {"type": "object", "properties": optional},
        "a name of 20 KB": {"type": "object", "title": "x" * 20_000},
    }.items():
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        yield _asked(f"a schema of {name}", response_format=form)


def _messages() -> Iterator[Hostile]:
    for value in ({}, "x", 5, True, None, [], [5], [None], [[]], ["x"], [{}]):
        yield _asked(f"messages of {value!r}", messages=value)
    roles = (
        5,
        None,
        True,
        1.5,
        [],
        {},
        ["user"],
        "tool",
        "function",
        "USER",
        "user\0",
        " user",
        "",
    )
    for role in (*roles, "x" * 10_000, "ユーザー", "../user", "-1", 10**30):
        message = {"role": role, "content": "x"}
        yield _asked(f"a role of {str(role)[:20]!r}", messages=[message])
    system, answer = {"role": "system", "content": "x"}, {"role": "assistant", "content": "x"}
    yield _asked("no role", messages=[{"content": "x"}])
    yield _asked("a system's message alone", messages=[system])
    yield _asked("a system's message last", messages=[HELLO, system])
    yield _asked("a late system's message", messages=[HELLO, system, HELLO])
    yield _asked("an assistant's message last", messages=[HELLO, answer])
    yield _asked("an unknown field of a message", messages=[{**HELLO, "x": 1}])
    yield _asked("calls of tools", messages=[{**answer, "tool_calls": [{}]}, HELLO])
    yield _asked("a name of a number", messages=[{**HELLO, "name": 5}])
    yield _asked("1,001 messages", 413, messages=[HELLO] * 1001)
    yield _asked("300 KiB of text", 413, messages=[{"role": "user", "content": "x" * (300 << 10)}])
    halves = [{"role": "user", "content": "x" * (200 << 10)}] * 2
    yield _asked("400 KiB of text in two messages", 413, messages=halves)


def _parts() -> Iterator[Hostile]:
    contents: list[Any] = [5, True, 1.5, None, {}, {"text": "x"}, [5], [None], ["x"], [[]], [{}]]
    parts: list[Any] = [
        *({"type": kind} for kind in (5, None, True, [], {}, "audio", "file", "", "text", "image")),
        *({"type": "text", "text": text} for text in (5, None, [], {}, True)),
        {"type": "text", "text": "x", "y": 1},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        *({"type": "image_url", "image_url": url} for url in (5, None, [], {}, True)),
        *({"type": "image_url", "image_url": {"url": url}} for url in (5, None, [], {}, True)),
        {"type": "image_url", "image_url": {"url": "data:;base64,", "path": "/etc/passwd"}},
    ]
    for content in (*contents, *([part] for part in parts)):
        message = {"role": "user", "content": content}
        yield _asked(f"a content of {json.dumps(content)[:60]}", messages=[message])
    shown = {"type": "image_url", "image_url": {"url": url_of(encoded(Image.new("RGB", (4, 4))))}}
    for role in ("system", "assistant"):
        turn = {"role": role, "content": [shown]}
        yield _asked(f"an image of the {role}'s", messages=[turn, HELLO])
    yield _asked("17 images", 413, messages=[{"role": "user", "content": [shown] * 17}])


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def url_of(data: bytes, head: str = "image/png;base64") -> str:
    return f"data:{head},{base64.b64encode(data).decode()}"


def png_of(width: int, height: int) -> bytes:
    """Return an RGBA PNG of one colour, built without an image of that size in memory."""
    return _png(width, height, 6, (b"\0" + bytes(width * 4) for _ in range(height)))


def png_that_says(width: int, height: int) -> bytes:
    """Return a PNG whose header states any size, without pixels."""
    return _png(width, height, 2, [])


def _png(width: int, height: int, colours: int, rows: Iterable[bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0))
    packer = zlib.compressobj(1)
    packed = b"".join([*map(packer.compress, rows), packer.flush()])
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def _images() -> Iterator[Hostile]:
    small = Image.new("RGB", (40, 40), "red")
    png, jpeg = encoded(small), encoded(small, "JPEG")
    gif = b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;"
    damaged = bytearray(png)
    damaged[40:60] = bytes(20)
    addresses = {
        "of another site": "https://example.org/cat.png",
        "of this machine": "http://127.0.0.1:1/cat.png",
        "of a file": "file:///etc/passwd",
        "by FTP": "ftp://127.0.0.1/x",
        "without a scheme": "//127.0.0.1/x",
        "that is a path": "/etc/passwd",
        "that is nothing": "",
        "of a script": "javascript:alert(1)",
        "of a blob": "blob:http://127.0.0.1/x",
        "of data alone": "data:",
        "of data and a comma": "data:,",
        "without base64": "data:image/png,%89PNG",
        "of empty data": "data:image/png;base64,",
        "of no base64": "data:image/png;base64,!!!",
        "of half a base64": "data:image/png;base64,A",
        "of percent signs": "data:image/png;base64,%%%",
        "of zeros": "data:image/png;base64,AAAA",
        "of non-ASCII base64": "data:image/png;base64,ÄÖÜ",
        "with 2 KB of parameters": "data:" + "x" * 2000 + ";base64,AAAA",
        "of an SVG": url_of(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml;base64"),
        "of HTML": url_of(b"<html></html>"),
        "of a PDF": url_of(b"%PDF-1.7\n"),
        "of PostScript": url_of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "of a TIFF": url_of(encoded(small, "TIFF")),
        "of an icon": url_of(encoded(small, "ICO")),
        "of half a PNG": url_of(png[: len(png) // 2]),
        "of a damaged PNG": url_of(bytes(damaged)),
        "of half a JPEG": url_of(jpeg[: len(jpeg) // 2]),
        "of a JPEG's head": url_of(jpeg[:20]),
        "of a JPEG of 101 scans": url_of(jpeg[:-2] + b"\xff\xda\x00\x02" * 101 + jpeg[-2:]),
        "of a PNG of 0 pixels": url_of(png_that_says(0, 0)),
    }
    for name, url in addresses.items():
        yield _imaged(f"an image {name}", 400, url)
    large = {
        "of 900 megapixels": png_that_says(30_000, 30_000),
        "of 4 billion pixels a side": png_that_says(2**31 - 1, 2**31 - 1),
        "of 70,000 x 1": encoded(Image.new("L", (70_000, 1))),
        "of 1 x 70,000": encoded(Image.new("L", (1, 70_000))),
        "of 9 MiB": bytes(9 << 20),
        "of a GIF of 4 gigapixels": gif,
    }
    for name, data in large.items():
        yield _imaged(f"an image {name}", 413, url_of(data))


def _imaged(name: str, status: int, *urls: str) -> Hostile:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return _asked(name, status, messages=[{"role": "user", "content": parts}])


def _http() -> Iterator[Hostile]:
    good = json.dumps({"messages": [HELLO]}).encode()

    def by(name: str, status: int, *lines: str, body: bytes = good, **how: str) -> Hostile:
        return Hostile(name, status, lambda host: wire(host, body, *lines, **how))

    for method in (
        "GET",
        "PUT",
        "DELETE",
        "PATCH",
        "TRACE",
        "OPTIONS",
        "PROPFIND",
        "post",
        "X" * 99,
    ):
        yield by(f"method {method[:9]}", 405, method=method)
    yield by("method CONNECT", 404, method="CONNECT", path="127.0.0.1:22")
    for path in (
        *(
            "/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/..%2f..%2fetc%2fpasswd",
            "//etc/passwd",
        ),
        *(
            "/v1",
            "/v1/",
            "/v1/models/",
            f"{CHAT}/",
            f"/{CHAT}",
            "/V1/CHAT/COMPLETIONS",
            "/%00",
            "/%ff",
        ),
        *("/props", "/slots", "/tokenize", "/completion", "/apply-template", "/health", "/metrics"),
        *("/v1/embeddings", "/lora-adapters", "/cors-proxy", "/server.py", "/page/index.html", "*"),
        *(
            "/C:/Windows/win.ini",
            "/..\\..\\x",
            "http://evil.example/",
            "http://evil.example" + CHAT,
        ),
    ):
        yield by(f"path {path}", 404, path=path)
    yield by("a path of 1 MB", 400, path="/" + "x" * 1_000_000)
    for host in (
        *("evil.example", "[::1", "[::1]evil", "::1", "[", "]", "evil@127.0.0.1", "127.0.0.1@evil"),
        *("127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "127.1", "2130706433", ""),
        *("[::ffff:127.0.0.1]", "127.0.0.1:99999999", "127.0.0.1:x", "localhost/..", "localhost?x"),
        *(
            "localhost#x",
            "[v1.x]",
            "127.0.0.1, evil.example",
            "ÿ",
            "[::1%25eth0]",
            "localhost:80:80",
        ),
    ):
        yield by(f"host {host!r}", 403, f"Host: {host}")
    yield by("no host", 400, "Host")
    yield Hostile("two hosts", 400, lambda host: _two(host, good, f"Host: {host}\r\nHost: evil"))
    for origin in (
        *(
            "https://evil.example",
            "null",
            "",
            "http://localhost.evil.example",
            "http://[::1",
            "[",
            "*",
        ),
        *(
            "file://",
            "http://127.0.0.1:1",
            "http://127.0.0.1",
            "chrome-extension://abc",
            "x" * 5000,
        ),
    ):
        yield by(f"origin {origin[:30]!r}", 403, f"Origin: {origin}")
    yield Hostile(
        "an origin beside ours",
        403,
        lambda h: _two(h, good, f"Origin: http://{h}\r\nOrigin: http://x"),
    )
    yield by("a site's preflight", 403, "Origin: https://evil.example", method="OPTIONS")
    for length in ("-1", "abc", "1e3", "9" * 30, "0x10", "+5", "1,2"):
        yield by(f"content-length {length}", 400, f"Content-Length: {length}")
    yield by("content-length of a gigabyte", 413, f"Content-Length: {1 << 30}")
    yield by("content-length too short", 400, "Content-Length: 5")
    yield by("two lengths", 400, f"Content-Length: 5\r\nContent-Length: {len(good)}")
    for coding in ("gzip", "identity", "chunked, gzip", "xchunked"):
        yield by(
            f"transfer-encoding {coding}", 400, "Content-Length", f"Transfer-Encoding: {coding}"
        )
    for name, body in {
        "no number": b"zz\r\nx\r\n0\r\n\r\n",
        "a negative number": b"-5\r\nhello\r\n0\r\n\r\n",
        "a huge number": b"F" * 30 + b"\r\nx",
        "a wrong end": b"5\r\nhelloXX0\r\n\r\n",
        "a long extension": b"5;" + b"x" * 20_000 + b"\r\nhello\r\n0\r\n\r\n",
        "no JSON": b"5\r\nhello\r\n0\r\n\r\n",
    }.items():
        yield by(
            f"a chunk of {name}", 400, "Content-Length", "Transfer-Encoding: chunked", body=body
        )
    mebibyte = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    yield by(
        "30 chunks of 1 MiB",
        413,
        "Content-Length",
        "Transfer-Encoding: chunked",
        body=mebibyte * 30,
    )
    yield by("a header of 1 MB", 400, "X-Long: " + "x" * 1_000_000)
    yield by("50,000 headers", 400, *(f"X-{number}: {number:09}" for number in range(50_000)))
    yield by("a NUL in a header", 400, "X-Nul: \0")
    yield by("a header with a blank in its name", 400, "X y: z")
    yield by("a WebSocket", 405, "Upgrade: websocket", "Connection: Upgrade", method="GET")
    for name, raw in {
        "no HTTP": b"hello\r\n\r\n",
        "HTTP 0.9": b"GET /\r\n\r\n",
        "TLS": bytes.fromhex("16030100a5010000a10303") + bytes(160) + b"\r\n\r\n",
        "zeros": bytes(20_000),
        "HTTP of no version": b"GET / HTTP/x\r\nHost: localhost\r\n\r\n",
    }.items():
        yield Hostile(name, 400, lambda host, raw=raw: raw)


def _two(host: str, body: bytes, lines: str) -> bytes:
    name = lines.partition(":")[0]
    return wire(host, body, lines if name == "Host" else f"X: y\r\n{lines}")
