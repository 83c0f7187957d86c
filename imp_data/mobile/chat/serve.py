"""Serve the chat for an export until Ctrl-C: `imp-data chat DIR`."""

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
from imp_data.mobile.gguf.export_manifest import ExportManifest
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
    """Load the model, print the page's URL and serve it; return after Ctrl-C.

    On any host but loopback, generate a token unless one is given, since everybody on the network
    can reach the port. Raise UserError if the server cannot listen on `host` and `port`.
    """
    listener = _listen(host, port)
    if host not in LOOPBACK:
        token = token or secrets.token_urlsafe(16)
    with listener, open_runtime(folder, precision, size, settings) as runtime:
        square = partial(square_image, size=size, preprocessing=runtime.bundle.preprocessing)
        app = chat_app(runtime.socket, model_info(runtime.bundle, size), square, token)
        # uvicorn closes its connections and raises the signal again; exiting by an exception then
        # removes the socket's folder.
        signal.signal(signal.SIGTERM, _exit_on_signal)
        print(f"ImpChat: {chat_url(host, listener.getsockname()[1], token)}", flush=True)
        print("Press Ctrl-C to stop.", flush=True)
        with suppress(KeyboardInterrupt):  # the normal end; uvicorn has closed its connections
            bounded_server(app).run(sockets=[listener])


def _exit_on_signal(number: int, frame: object) -> None:
    sys.exit(128 + number)


def model_info(manifest: ExportManifest, size: int) -> ModelInfo:
    """Return what the page states about a model."""
    return ModelInfo(
        name=manifest.name,
        image_size=size,
        preprocessing=manifest.preprocessing,
        license=manifest.license or "not stated",
        mixture=manifest.mixture_digest or "",
        asking=manifest.asking,
    )


def chat_url(host: str, port: int, token: str | None) -> str:
    """Return the URL to open in a browser. The token follows #, so browsers never send it."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"#token={token}" if token else "")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        remedy = "choose another --port" if taken else "set --host to an address of this machine"
        problem = f"the server cannot listen on this address ({error.strerror or error})"
        raise UserError(f"{host}:{port}", problem, remedy) from error
