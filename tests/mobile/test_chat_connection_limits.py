"""Slow connections are closed; concurrent connections, requests and images are limited."""

import asyncio
import io
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from hostile_requests import CHAT, HELLO, answered, encoded, fault, url_of, wire
from hostile_requests import Reply as Got
from llama_stand_in import StandIn, behind, served
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from imp_data.errors import UserError
from imp_data.mobile.chat import connection_limits, images, middleware, request_body
from imp_data.mobile.chat.app import ModelInfo, chat_app
from imp_data.mobile.runtime.sockets import private_socket

ABOUT = ModelInfo("imp-tiny", 14, "square", "Apache-2.0", mixture="9418671a")
BODY = json.dumps({"messages": [HELLO]}).encode()


def squared(image: Image.Image) -> Image.Image:
    return image.resize((14, 14))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce the timeouts to fractions of a second."""
    monkeypatch.setattr(connection_limits, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(connection_limits, "STALLED_SEND_TIMEOUT_S", 0.3)
    monkeypatch.setattr(connection_limits, "_TICK_S", 0.05)
    monkeypatch.setattr(request_body, "BODY_TIMEOUT_S", 0.3)
    monkeypatch.setattr(request_body, "MIN_BODY_BYTES_PER_S", 10**9)


@pytest.fixture
def host(quick: None) -> Iterator[str]:
    with behind(StandIn().app) as upstream, served(chat_app(upstream, ABOUT, squared)) as base:
        yield base.removeprefix("http://")


def connected(host: str) -> socket.socket:
    port = urlsplit(f"//{host}").port
    assert port is not None
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def trickled(connection: socket.socket, sent: bytes) -> None:
    """Send one byte at a time until the other side closes the connection."""
    for place in range(len(sent)):
        try:
            connection.sendall(sent[place : place + 1])
        except OSError:
            return
        time.sleep(0.02)


def got(connection: socket.socket) -> Got:
    response = HTTPResponse(connection)
    response.begin()
    return Got(response.status, dict(response.getheaders()), response.read())


def test_a_silent_connection_gets_a_408_and_is_closed(host: str) -> None:
    with connected(host) as silent:
        assert fault(got(silent), 408) is None
        assert silent.recv(1) == b""
    assert answered(host) is None


@pytest.mark.parametrize("sent", [wire("127.0.0.1", BODY)[:60], b"X" * 60], ids=["head", "noise"])
def test_a_head_that_trickles_times_out(host: str, sent: bytes) -> None:
    with connected(host) as slow:
        trickled(slow, sent)
        assert fault(got(slow), 408) is None


def test_a_second_head_that_trickles_times_out(host: str) -> None:
    with connected(host) as slow:
        slow.sendall(wire(host, method="GET", path="/v1/models"))
        assert got(slow).status == 200
        trickled(slow, wire(host, method="GET", path="/v1/models")[:60])
        assert fault(got(slow), 408) is None


@pytest.mark.parametrize("lines", [(), ("Content-Length", "Transfer-Encoding: chunked")])
def test_a_body_that_trickles_times_out(host: str, lines: tuple[str, ...]) -> None:
    with connected(host) as slow:
        slow.sendall(wire(host, BODY, *lines).partition(b"{")[0])
        trickled(slow, b"1\r\n \r\n" * 100 if lines else b" " * 60)
        assert fault(got(slow), 408) is None
    assert answered(host) is None


def test_data_after_a_refusal_is_read_only_briefly(host: str) -> None:
    with connected(host) as slow:
        slow.sendall(wire(host, b"", f"Content-Length: {1 << 30}"))
        assert fault(got(slow), 413) is None
        trickled(slow, b" " * 100)  # for 2 s
        with pytest.raises(OSError):
            for _ in range(100):
                slow.sendall(b" ")
                time.sleep(0.02)


def test_a_request_that_ends_early_is_refused(host: str) -> None:
    for early in (wire(host, BODY)[:-9], wire(host, BODY)[:30]):
        with connected(host) as half:
            half.sendall(early)
            half.shutdown(socket.SHUT_WR)
            assert fault(got(half), 400) is None
    assert answered(host) is None


class Upstream:
    """A model whose answer never ends; `left` is set when its client has gone."""

    def __init__(self) -> None:
        self.begun, self.left = threading.Event(), threading.Event()
        self.app = Starlette(routes=[Route(CHAT, self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        stream = (await request.json()).get("stream")
        self.begun.set()
        if stream:
            return StreamingResponse(self._words())
        while not await request.is_disconnected():
            await asyncio.sleep(0.02)
        self.left.set()
        return Response()

    async def _words(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"data: " + b"x" * 60_000 + b"\n\n"
                await asyncio.sleep(0.001)
        finally:
            self.left.set()


@pytest.mark.parametrize("stream", [False, True])
def test_a_closed_connection_stops_the_model(quick: None, stream: bool) -> None:
    model = Upstream()
    body = json.dumps({"messages": [HELLO], "stream": stream}).encode()
    with behind(model.app) as upstream, served(chat_app(upstream, ABOUT, squared)) as base:
        host = base.removeprefix("http://")
        with connected(host) as gone:
            gone.sendall(wire(host, body))
            assert model.begun.wait(10)
        assert model.left.wait(10)


def test_a_client_that_reads_nothing_of_the_answer_stops_the_model(quick: None) -> None:
    model = Upstream()
    body = json.dumps({"messages": [HELLO], "stream": True}).encode()
    with behind(model.app) as upstream, served(chat_app(upstream, ABOUT, squared)) as base:
        host = base.removeprefix("http://")
        with connected(host) as deaf:
            deaf.sendall(wire(host, body))
            assert model.left.wait(20)


def test_a_connection_above_the_limit_is_refused_until_another_ends(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(connection_limits, "HEAD_TIMEOUT_S", 10)
    with ExitStack() as held:
        for _ in range(4):
            held.enter_context(connected(host))
        with connected(host) as fifth:
            fifth.sendall(wire(host, BODY))
            reply = got(fifth)
        assert (reply.status, reply.headers["X-Content-Type-Options"]) == (503, "nosniff")
        assert json.loads(reply.body)["error"]["type"] == "server_error"
    wait_for(lambda: answered(host) is None)


def wait_for(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")


class Crowd:
    """Counts how many threads or tasks are inside at the same time, at most."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


def test_concurrent_requests_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "MAX_CONCURRENT_REQUESTS", 2)
    crowd = Crowd()

    async def answer(request: Request) -> Response:
        with crowd:
            await asyncio.sleep(0.05)
        return JSONResponse({})

    model = Starlette(routes=[Route(CHAT, answer, methods=["POST"])])
    with (
        behind(model) as upstream,
        served(chat_app(upstream, ABOUT, squared)) as base,
        httpx.Client(base_url=base, timeout=20) as client,
    ):

        def ask(_: int) -> int:
            return client.post(CHAT, content=BODY).status_code

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(8))) == [200] * 8
    assert crowd.most == 2


def request_with(*sizes: tuple[int, int]) -> bytes:
    parts = [
        {"type": "image_url", "image_url": {"url": url_of(encoded(Image.new("RGB", size)))}}
        for size in sizes
    ]
    return json.dumps({"messages": [{"role": "user", "content": parts}]}).encode()


def test_only_one_image_is_decoded_at_a_time(quick: None) -> None:
    crowd = Crowd()

    def square(given: Image.Image) -> Image.Image:
        with crowd:
            time.sleep(0.05)
            return squared(given)

    with (
        behind(StandIn().app) as upstream,
        served(chat_app(upstream, ABOUT, square)) as base,
        httpx.Client(base_url=base, timeout=20) as client,
    ):

        def ask(number: int) -> int:
            if number % 2:
                file = encoded(Image.new("RGB", (9, 9)))
                return client.post("/v1/image", content=file).status_code
            return client.post(CHAT, content=request_with((9, 9))).status_code

        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(ask, range(6))) == [200] * 6
    assert crowd.most == 1


def test_the_total_pixels_of_a_requests_images_are_limited(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_REQUEST_PIXELS", 200)
    few, many = request_with((10, 10), (5, 20)), request_with((10, 10), (5, 20), (1, 1))
    assert httpx.post(f"http://{host}{CHAT}", content=few).status_code == 200
    reply = httpx.post(f"http://{host}{CHAT}", content=many)
    assert (reply.status_code, reply.json()["error"]["param"]) == (413, "messages[0].content[2]")


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_a_format_whose_decoder_needs_more_memory_has_a_lower_pixel_limit(kind: str) -> None:
    assert images.MAX_PIXELS_BY_FORMAT[kind] < images.MAX_PIXELS_BY_FORMAT["JPEG"]
    few = io.BytesIO()
    Image.new("RGB", (40, 30)).save(few, kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "MAX_PIXELS_BY_FORMAT", {**images.MAX_PIXELS_BY_FORMAT, kind: 1199})
        with pytest.raises(images.RequestRefused, match=r"40x30 is more than 1,199"):
            images.square_upload(few.getvalue(), squared)


def test_a_temporary_folder_with_a_path_too_long_for_a_socket_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(UserError, match="set TMPDIR to"), private_socket():
        pass
