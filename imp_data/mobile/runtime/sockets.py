"""Private Unix sockets for llama.cpp's server, in place of a port.

The server requires no authentication, lets every web site read its answers (CORS), and fetches
images from any given address. A browser can connect to any loopback port, but not to a socket in
the file system; the socket's folder is closed to other users.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, socket
from tempfile import TemporaryDirectory

import httpx

from imp_data.errors import UserError

# The host in requests to a socket; it is never resolved.
BASE_URL = "http://llama.cpp"
# Maximum length of a socket's path: 107 bytes on Linux, 103 on macOS.
_MAX_PATH_BYTES = 103


@contextmanager
def private_socket() -> Iterator[Path]:
    """Yield a socket path in a folder of mode 0700 that is removed at the end.

    llama.cpp recognizes a socket's path by its suffix `.sock`. Raise UserError if the path of the
    temporary folder is too long.
    """
    with TemporaryDirectory(prefix="imp-data-") as folder:
        path = Path(folder) / "llama.sock"
        if len(os.fsencode(path)) > _MAX_PATH_BYTES:
            problem = f"is too long for a socket's path of at most {_MAX_PATH_BYTES} bytes"
            raise UserError(folder, problem, "set TMPDIR to a folder with a shorter path")
        yield path


def is_listening(path: Path) -> bool:
    """Return whether a server listens on this socket."""
    with socket(AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def open_client(path: Path, timeout: float) -> httpx.Client:
    """Return an HTTP client for this socket, without a proxy. `timeout` is in seconds."""
    transport = httpx.HTTPTransport(uds=str(path))
    return httpx.Client(base_url=BASE_URL, transport=transport, timeout=timeout)
