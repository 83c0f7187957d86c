"""A loopback server of images, with the faults that image URLs of the web have."""

import asyncio
import gzip
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_JPEG_HEAD = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
_PIECE = b"\x11" * 65_536
_BOMB = gzip.compress(_JPEG_HEAD + bytes(32 << 20), 1)


class ImageServer:
    """Serves `images` by path, and a fault for each path of `FAULTS`; counts requests by path."""

    def __init__(self, images: Mapping[str, bytes], host: str = "127.0.0.1") -> None:
        self.images, self.requests = dict(images), Counter[str]()
        self.agents: set[str] = set()
        self.open_now = self.most_open = 0
        self.first_request = self.last_answer = 0.0
        self._host, self._loop, self._ready = host, asyncio.new_event_loop(), threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._ready.wait()

    def url(self, path: str) -> str:
        """Return the URL of a path."""
        return f"http://{self._host}:{self.port}/{path}"

    def close(self) -> None:
        """Stop the server; open connections break."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._loop.run_forever()
        self._loop.run_until_complete(self._stop())
        self._loop.close()

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=0.05, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, 0).start()
        self.port = self._runner.addresses[0][1]
        self._ready.set()

    async def _stop(self) -> None:
        await self._runner.cleanup()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        self.requests[path] += 1
        self.first_request = self.first_request or time.perf_counter()
        self.agents.add(request.headers.get("User-Agent", ""))
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            if path in self.images:
                return web.Response(body=self.images[path])
            fault, _, rest = path.partition("/")
            if fault in FAULTS:
                return await FAULTS[fault](self, request, rest)
            return web.Response(status=404)
        except ConnectionError:  # the client has gone
            return web.Response()
        finally:
            self.open_now -= 1
            self.last_answer = time.perf_counter()


@contextmanager
def image_server(images: Mapping[str, bytes], host: str = "127.0.0.1") -> Iterator[ImageServer]:
    """Run a server for the block."""
    server = ImageServer(images, host)
    try:
        yield server
    finally:
        server.close()


def _first(server: ImageServer) -> bytes:
    return next(iter(server.images.values()))


async def _stream(
    request: web.Request, headers: Mapping[str, str], pause: float, piece: bytes
) -> web.StreamResponse:
    """Send the head of a JPEG, then pieces without an end."""
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(_JPEG_HEAD)
    while True:
        await response.write(piece)
        await asyncio.sleep(pause)


async def _drip(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    return await _stream(request, {"Content-Length": "1000000"}, 0.02, b"\x11")


async def _endless(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    return await _stream(request, {}, 0, _PIECE)


async def _silent(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


async def _bomb(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    return web.Response(body=_BOMB, headers={"Content-Encoding": "gzip"})


async def _packed(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    body = gzip.compress(_first(server))
    return web.Response(body=body, headers={"Content-Encoding": rest or "gzip"})


async def _short(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(_first(server)) + 1000)})
    await response.prepare(request)
    await response.write(_first(server))
    request.transport.close()  # type: ignore[union-attr]
    return response


async def _reset(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    request.transport.abort()  # type: ignore[union-attr]
    return web.Response()


async def _huge(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(10 << 30)})
    await response.prepare(request)
    return response


async def _status(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    return web.Response(status=int(rest))


async def _busy(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    """Answer `busy/<status>/<times>/<Retry-After>` with the status so often, then an image."""
    status, times, pause = rest.split("/")
    if server.requests[f"busy/{rest}"] <= int(times):
        return web.Response(status=int(status), headers={"Retry-After": pause})
    return web.Response(body=_first(server))


async def _loop(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "/loop"})


async def _to(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    return web.Response(status=301, headers={"Location": request.query["url"]})


async def _page(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    """Answer with another content under the type of an image."""
    pages = {
        "html": b"<!DOCTYPE html><title>Not found</title>",
        "json": b'{"error": "gone"}',
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "empty": b"",
    }
    return web.Response(body=pages[rest], content_type="image/jpeg")


async def _robots(server: ImageServer, request: web.Request, rest: str) -> web.StreamResponse:
    return web.Response(body=_first(server), headers={"X-Robots-Tag": rest})


FAULTS: dict[str, Callable[[ImageServer, web.Request, str], Awaitable[Any]]] = {
    "drip": _drip,
    "endless": _endless,
    "silent": _silent,
    "bomb": _bomb,
    "packed": _packed,
    "short": _short,
    "reset": _reset,
    "huge": _huge,
    "status": _status,
    "busy": _busy,
    "loop": _loop,
    "to": _to,
    "page": _page,
    "robots": _robots,
}
