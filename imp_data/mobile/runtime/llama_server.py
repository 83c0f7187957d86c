"""Run an export in a `llama-server` built for this machine, a process of its own."""

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
from imp_data.mobile.gguf.export_manifest import read_export_manifest
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
    """Load a model as `open_runtime` does, but in the program `server`; its log goes to stderr."""
    manifest = read_export_manifest(folder)
    text, vision = model_files(folder, manifest, precision, size, settings)
    with private_socket() as socket:
        address = ["--host", str(socket), "--alias", manifest.name]
        command = [str(server), *_arguments(text, vision, precision, settings), *address]
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
                _wait_until_loaded(server, process, socket, http)
                yield Runtime(socket, manifest, size, http, process.pid)
        finally:
            process.terminate()
            process.wait()


def llama_server_version(server: Path) -> str:
    """Return the program's name and version: `llama-server 11434 (…)`."""
    try:
        done = subprocess.run([server, "--version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(server, f"does not run ({error.strerror})", _REMEDY) from error
    found = _VERSION.search(done.stdout + done.stderr)
    return f"{server.name} {found[1] if found else 'of unknown version'}"


_VERSION = re.compile(r"^version: (.+)", re.M)
_REMEDY = "use a llama-server of llama.cpp b11434 or later, or omit the option to use the wheel"


def _arguments(
    text: Path, vision: Path, precision: Precision, settings: RuntimeSettings
) -> list[str]:
    """Return the arguments equivalent to the parameters and the log format of `open_runtime`."""
    threads, flash = str(settings.threads), "on" if settings.flash_attention else "off"
    options = {
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
        options |= {"--cache-type-k": "f32", "--cache-type-v": "f32"}
    flags = ["--no-warmup", "--no-ui", "--log-prefix", "--log-timestamps"]
    return [str(word) for pair in options.items() for word in pair] + flags


def _wait_until_loaded(
    server: Path, process: "subprocess.Popen[bytes]", socket: Path, http: httpx.Client
) -> None:
    """Return when the server has loaded the model. Raise UserError if it exits before."""
    while process.poll() is None:
        try:
            if is_listening(socket) and http.get("/health").is_success:
                return
        except httpx.TransportError:
            pass  # it exited in between
        time.sleep(0.05)
    code = process.returncode
    if code < 0:
        problem = f"was killed by {signal.Signals(-code).name}; see its log"
    else:
        problem = f"exited with status {code}; see its log"
    raise UserError(server, problem, _REMEDY)
