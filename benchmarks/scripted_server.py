"""A loopback server that answers each request with scripted bytes, valid or not."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple


class Request(NamedTuple):
    """A request: its path, and its headers by lower-case name."""

    path: str
    headers: dict[str, str]

    def begin(self) -> int | None:
        """Return the first byte of the requested range; None without a range."""
        asked = self.headers.get("range")
        return int(asked.removeprefix("bytes=").removesuffix("-")) if asked else None


class Pause(NamedTuple):
    """So many seconds without a byte, or until the client has gone."""

    seconds: float


class Reset(NamedTuple):
    """The connection is torn down instead of closed."""


Step = bytes | Pause | Reset
Answer = Callable[[Request], Iterator[Step]]


class ScriptedServer:
    """Gives the first answer to the first request, and the last one to all that follow."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers, self._ended = answers, threading.Event()
        self.asked: list[Request] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def serve(self) -> None:
        """Accept connections until the server is closed, each in its own thread."""
        while not self._ended.is_set():
            with suppress(OSError):
                connection, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """Stop accepting connections and close the open ones."""
        self._ended.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, ValueError):
            request = _request(connection)
            answer = self._answers[min(len(self.asked), len(self._answers) - 1)]
            self.asked.append(request)
            for step in answer(request):
                if isinstance(step, Reset):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    return
                if isinstance(step, Pause):
                    if self._ended.wait(step.seconds):
                        return
                else:
                    connection.sendall(step)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)  # a close with bytes unread would reset the connection


def _request(connection: socket.socket) -> Request:
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(65536)
        if not block:
            raise ConnectionError
        data += block
    first, *lines = data.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
    fields = (line.partition(":") for line in lines)
    return Request(first.split(" ")[1], {name.lower(): value.strip() for name, _, value in fields})


@contextmanager
def scripted(*answers: Answer) -> Iterator[ScriptedServer]:
    """Run a server with these answers during the context."""
    server = ScriptedServer(answers)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
