"""Send hostile requests, slow connections and large images to a chat's ports.

`imp-data chat` runs on a tiny model; none are tried where the extra [mobile] is not installed.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException, HTTPResponse
from importlib.util import find_spec
from pathlib import Path

from trials import Outcome

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests"))

from hostile_requests import (  # noqa: E402
    Hostile,
    Reply,
    answered,
    exchanged,
    fault,
    hostile_requests,
    png_of,
    url_of,
    wire,
)
from listening import listening  # noqa: E402
from probes import PROBED, probed, watched  # noqa: E402

# Beside the model; one image takes most of it.
MEMORY_BYTES = 1600 << 20
# What the chat's own bounds end, and some seconds for the machine.
_HEAD_S, _BODY_S = 20, 40


def trials(folder: Path, seed: int) -> Iterator[Outcome]:
    """Ports, requests, connections, memory; the seed draws nothing here."""
    if not (find_spec("xllamacpp") and find_spec("transformers")):
        return

    with chatting(exported(folder)) as (host, process):
        yield from ports(process.pid)
        secrets = (str(folder), str(ROOT), ".gguf", ".sock", "Traceback", "object at 0x")
        for request in hostile_requests():
            yield Outcome(request.name, refused(host, request, secrets))
        yield from slow_ones(host)
        yield Outcome("200 connections", crowd(host))
        yield from large_images(host, process.pid)


def exported(folder: Path) -> Path:
    """A tiny model's files for llama.cpp, made in a process that ends: it takes PyTorch."""
    code = (
        "import sys; from pathlib import Path; from models import SIZE, save_model;"
        "from imp_data.mobile.gguf.export import export; folder = Path(sys.argv[1]);"
        "export(save_model(folder / 'model'), folder / 'out', [16], [SIZE])"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", code, str(folder)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return folder / "out"


@contextmanager
def chatting(model: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The host and port of a chat, and its process."""
    command = [sys.executable, "-m", "imp_data", "chat", str(model), "--port", "0"]
    command += ["--threads", "1"]  # of two that wait for each other one waits for the machine
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, **piped) as process:
        try:
            said = process.stdout.readline()
            yield said.removeprefix("ImpChat: http://").strip().rstrip("/"), process
            process.send_signal(signal.SIGINT)
            process.wait(60)
        finally:
            process.kill()


def ports(pid: int) -> Iterator[Outcome]:
    """Request every port of the processes from another site, which must get nothing."""
    with watched() as (canary, fetched):
        for port in sorted(listening(pid).ports):
            for method, path in PROBED:
                failure = probed(port, method, path, canary)
                yield Outcome(f"another site: {method} {path}", failure)
        yield Outcome("an image on loopback", f"was fetched: {fetched}" if fetched else None)


def refused(host: str, request: Hostile, secrets: tuple[str, ...]) -> str | None:
    """What was wrong with the reply, or with the answer to a good request after it."""
    try:
        reply = exchanged(host, request.raw(host))
    except (OSError, HTTPException) as failure:
        return f"no reply: {failure!r}"
    return fault(reply, request.status, secrets) or answered(host)


def slow_ones(host: str) -> Iterator[Outcome]:
    """All at the same time; each must have been told within the time that is stated."""
    head, body = wire(host, b" " * 1000).split(b"\r\n\r\n")
    chunked = wire(host, b"", "Content-Length", "Transfer-Encoding: chunked")
    slow: dict[str, Callable[[], str | None]] = {
        "silence": partial(told, host, b"", b"", 408, _HEAD_S),
        "half a head, then silence": partial(told, host, head[:20], b"", 408, _HEAD_S),
        "a head that trickles": partial(told, host, b"", b"X" * 1000, 408, _HEAD_S),
        "a header that trickles": partial(told, host, head + b"\r\nX: ", b"x" * 1000, 408, _HEAD_S),
        "a body that never comes": partial(told, host, head + b"\r\n\r\n", b"", 408, _BODY_S),
        "a body that trickles": partial(told, host, head + b"\r\n\r\n", body, 408, _BODY_S),
        "chunks that trickle": partial(told, host, chunked, b"1\r\n \r\n" * 500, 408, _BODY_S),
    }
    with ThreadPoolExecutor(len(slow)) as pool:
        running = {name: pool.submit(trial) for name, trial in slow.items()}
        yield Outcome("a good request beside slow ones", answered(host))
        for name, future in running.items():
            yield Outcome(name, future.result())


def told(host: str, at_once: bytes, slowly: bytes, status: int, within: float) -> str | None:
    """Send some at once and the rest at two bytes a second, and read the reply."""
    begun = time.monotonic()
    name, _, port = host.rpartition(":")
    with socket.create_connection((name, int(port)), 60) as connection:
        connection.sendall(at_once)
        connection.settimeout(0.5)
        for byte in slowly:
            try:
                if connection.recv(1, socket.MSG_PEEK):
                    break
                return "hung up without a word"
            except TimeoutError:
                connection.sendall(bytes([byte]))
        connection.settimeout(60)
        response = HTTPResponse(connection)
        response.begin()
        reply = Reply(response.status, dict(response.getheaders()), response.read())
    late = time.monotonic() - begun > within
    return fault(reply, status) or (f"took more than {within} s" if late else None)


def crowd(host: str) -> str | None:
    """Open many connections; the chat must reject them, and recover when they close."""
    name, _, port = host.rpartition(":")
    held = [socket.create_connection((name, int(port)), 20) for _ in range(200)]
    try:
        if b" 503 " not in held[100].recv(99):
            return "the hundredth was not turned away"
    finally:
        for connection in held:
            connection.close()
    time.sleep(1)
    return answered(host)


def large_images(host: str, pid: int) -> Iterator[Outcome]:
    """Many in a request are refused; of two requests at a time one holds the memory."""
    before = peak_bytes(pid)
    part = {"type": "image_url", "image_url": {"url": url_of(png_of(14_000, 7_000))}}

    def asked(images: int) -> bytes:
        message = {"role": "user", "content": [part] * images}
        return wire(host, json.dumps({"messages": [message], "max_tokens": 1}).encode())

    many = exchanged(host, asked(12), 300)
    yield Outcome("12 images of 98 megapixels", fault(many, 413) or answered(host))
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda _: exchanged(host, asked(1), 300), range(2)))
    other = [reply.status for reply in replies if reply.status != 200]
    yield Outcome("2 requests of 98 megapixels", f"status {other[0]}" if other else None)
    took = peak_bytes(pid) - before
    large = f"took {took >> 20:,} MiB" if took > MEMORY_BYTES else None
    yield Outcome("the memory of large images", large)


def peak_bytes(pid: int) -> int:
    """Return the peak memory of a process."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10
