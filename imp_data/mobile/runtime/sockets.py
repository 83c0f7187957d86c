"""Where llama.cpp's server listens: at a socket of this user's own, at no port.

Its server asks nobody who they are, lets every web site read its answers (CORS), and fetches the
images whose addresses it is given. A browser reaches any port of loopback; it reaches no socket in
the file system, and nor does another user, to whom the socket's folder is closed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, socket
from tempfile import TemporaryDirectory

import httpx

from imp_data.errors import UserError

# The host of a request that goes to a socket: no name is looked up.
BASE_URL = "http://llama.cpp"
# Bytes of a socket's path; Linux takes 107, macOS 103.
_PATH_BYTES = 103


@contextmanager
def private_socket() -> Iterator[Path]:
    """A path to listen at, in a folder of mode 0700 that is gone at the end.

    llama.cpp takes a host for a socket's path by its ending. Raises UserError where the folder for
    temporary files lies too deep.
    """
    with TemporaryDirectory(prefix="imp-data-") as folder:
        path = Path(folder) / "llama.sock"
        if len(os.fsencode(path)) > _PATH_BYTES:
            problem = f"is too long for a socket's path of {_PATH_BYTES} bytes"
            raise UserError(folder, problem, "let TMPDIR name a folder with a shorter path")
        yield path


def is_listening(path: Path) -> bool:
    """Whether somebody listens at this socket by now."""
    with socket(AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def open_client(path: Path, timeout: float) -> httpx.Client:
    """An HTTP client of what listens there; no proxy comes between. `timeout` in seconds."""
    transport = httpx.HTTPTransport(uds=str(path))
    return httpx.Client(base_url=BASE_URL, transport=transport, timeout=timeout)
