"""The chat over an export, until Ctrl-C: `imp-data chat DIR`."""

import errno
import secrets
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from imp_data.errors import UserError
from imp_data.mobile.chat.app import ModelInfo, chat_app
from imp_data.mobile.chat.connection_limits import bounded_server
from imp_data.mobile.chat.middleware import LOOPBACK
from imp_data.mobile.gguf.bundle import ExportManifest
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.runtime.images import square_image
from imp_data.mobile.runtime.in_process import RuntimeSettings, open_runtime


def serve(
    folder: Path,
    precision: Precision,
    size: int,
    host: str,
    port: int,
    token: str | None,
    settings: RuntimeSettings,
) -> None:
    """Load the model, print the page's address and serve it; returns after Ctrl-C.

    Away from loopback everybody on the network can reach the port, so there a token is made up
    where none is given. Raises UserError where `host` and `port` cannot be had.
    """
    listening = _listening(host, port)
    if host not in LOOPBACK:
        token = token or secrets.token_urlsafe(16)
    with listening, open_runtime(folder, precision, size, settings) as runtime:
        square = partial(square_image, size=size, preprocessing=runtime.bundle.preprocessing)
        app = chat_app(runtime.socket, model_info(runtime.bundle, size), square, token)
        # uvicorn closes what is open and raises the signal again; the socket's folder goes too.
        signal.signal(signal.SIGTERM, _end)
        print(f"ImpChat: {chat_url(host, listening.getsockname()[1], token)}", flush=True)
        print("Ctrl-C ends it.", flush=True)
        with suppress(KeyboardInterrupt):  # the way to end it; uvicorn has closed what was open
            bounded_server(app).run(sockets=[listening])


def _end(number: int, frame: object) -> None:
    sys.exit(128 + number)


def model_info(bundle: ExportManifest, size: int) -> ModelInfo:
    """What the page says of a model."""
    return ModelInfo(
        name=bundle.name,
        image_size=size,
        preprocessing=bundle.preprocessing,
        license=bundle.license or "not stated",
        mixture=bundle.mixture_digest or "",
        asking=bundle.asking,
    )


def chat_url(host: str, port: int, token: str | None) -> str:
    """What to open in a browser. The token stands behind #, which no server is ever sent."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"#token={token}" if token else "")


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        remedy = "choose another --port" if taken else "give --host an address of this machine"
        problem = f"cannot be listened at ({error.strerror or error})"
        raise UserError(f"{host}:{port}", problem, remedy) from error
