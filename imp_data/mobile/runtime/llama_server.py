"""llama.cpp as it was built for this machine: its `llama-server`, a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from imp_data.errors import UserError
from imp_data.mobile.gguf.bundle import read_bundle
from imp_data.mobile.gguf.quantize import Precision
from imp_data.mobile.runtime.huge_pages import HUGE_PAGES_ENVIRONMENT
from imp_data.mobile.runtime.in_process import (
    ANSWER_TIMEOUT_S,
    Runtime,
    RuntimeSettings,
    model_files,
)
from imp_data.mobile.runtime.sockets import is_listening, open_client, private_socket


@contextmanager
def open_llama_server(
    server: Path, folder: Path, precision: Precision, size: int, settings: RuntimeSettings
) -> Iterator[Runtime]:
    """Like `open_runtime`, with that program; its log goes to stderr, its process is `pid`."""
    bundle = read_bundle(folder)
    text, vision = model_files(folder, bundle, precision, size, settings)
    with private_socket() as socket:
        listening = ["--host", str(socket), "--alias", bundle.name]
        command = [str(server), *_arguments(text, vision, precision, settings), *listening]
        try:
            process = subprocess.Popen(
                command,
                stdout=sys.stderr,
                stdin=subprocess.DEVNULL,
                env={**HUGE_PAGES_ENVIRONMENT, **os.environ},
            )
        except OSError as error:
            raise UserError(server, f"does not run ({error.strerror})", _REMEDY) from error
        try:
            with open_client(socket, ANSWER_TIMEOUT_S) as http:
                _await(server, process, socket, http)
                yield Runtime(socket, bundle, size, http, process.pid)
        finally:
            process.terminate()
            process.wait()


def llama_server_version(server: Path) -> str:
    """What it says of itself: `llama-server 11434 (…)`."""
    try:
        done = subprocess.run([server, "--version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(server, f"does not run ({error.strerror})", _REMEDY) from error
    found = _VERSION.search(done.stdout + done.stderr)
    return f"{server.name} {found[1] if found else 'of unknown version'}"


_VERSION = re.compile(r"^version: (.+)", re.M)
_REMEDY = "name a llama-server of llama.cpp b11434 or later, or leave it out for the wheel's"


def _arguments(
    text: Path, vision: Path, precision: Precision, settings: RuntimeSettings
) -> list[str]:
    """As `open_runtime` sets them; the log as it is written there."""
    threads, flash = str(settings.threads), "on" if settings.flash_attention else "off"
    stated = {
        "--model": text,
        "--mmproj": vision,
        "--ctx-size": settings.context,
        "--parallel": 1,
        "--threads": threads,
        "--threads-batch": threads,
        "--flash-attn": flash,
        "--load-mode": "auto" if precision is Precision.F16 else "none",
        "--cache-ram": settings.prompt_cache_mib,
        "--fit": "off",
        "--log-verbosity": settings.verbosity,
    }
    if settings.exact:
        stated |= {"--cache-type-k": "f32", "--cache-type-v": "f32"}
    flags = ["--no-warmup", "--no-ui", "--log-prefix", "--log-timestamps"]
    return [str(word) for pair in stated.items() for word in pair] + flags


def _await(
    server: Path, process: "subprocess.Popen[bytes]", socket: Path, http: httpx.Client
) -> None:
    """Until it has loaded the model."""
    while process.poll() is None:
        try:
            if is_listening(socket) and http.get("/health").is_success:
                return
        except httpx.TransportError:
            pass  # it ended in between
        time.sleep(0.05)
    code = process.returncode
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    raise UserError(server, f"{how}; see its log", _REMEDY)
