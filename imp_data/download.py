"""Downloads one file: resumed after an interruption, retried at the network's edge, verified."""

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple

import httpx

from imp_data.errors import UserError
from imp_data.manifest import File
from imp_data.places import in_store, scratch
from imp_data.progress import progress
from imp_data.store import file_sha256, move

_HUGGING_FACE = "https://huggingface.co/"
_TIMEOUT = httpx.Timeout(60.0, connect=15.0)
_PASSING = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError)
_FRUITLESS_TRIES = 6
# Without any connection so far, nothing is to be resumed, and a person wants to know soon.
_CONNECTING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
_CONNECTING_TRIES = 3
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 300.0
_sleep = time.sleep

ROOM = "make room or grant access, then run the same command again; what has arrived is kept"


class Refused(Exception):
    """Why an address, or a file on disk, does not give what the manifest names."""


class Unreachable(Refused):
    """No connection to the address's host can be made."""


class _Again(Exception):
    """A trouble that may pass, and how long to wait where that is known."""

    def __init__(
        self, why: str, pause_seconds: float | None = None, unreachable: bool = False
    ) -> None:
        super().__init__(why)
        self.pause_seconds, self.unreachable = pause_seconds, unreachable


class Wanted(NamedTuple):
    """A file of the manifest, where it belongs, and what of it has arrived."""

    file: File
    target: Path
    label: str

    @property
    def part(self) -> Path:
        whole = scratch(self.target) if in_store(self.target) else self.target
        return whole.with_name(f".{whole.name}.part")

    @property
    def version(self) -> Path:
        """Holds the ETag or date of the whole that `part` is the beginning of."""
        return self.part.with_name(f"{self.part.name}.version")

    def arrived_bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def discard(self) -> None:
        """Forget what has arrived."""
        self.part.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)


def verified(file: File, path: Path) -> str:
    """The sha256 of what is at `path`. Raises Refused unless it is what the manifest states."""
    size = path.stat().st_size
    if file.bytes not in (None, size):
        raise Refused(f"has {size:,} bytes, the manifest says {file.bytes:,}")
    digest = file_sha256(path)
    if file.sha256 not in (None, digest):
        raise Refused(f"has sha256 {digest}, the manifest says {file.sha256}")
    return digest


def fetched(wanted: Wanted, addresses: Sequence[str]) -> str:
    """The sha256 of the file, put in place from the first address that has what is wanted."""
    wanted.part.parent.mkdir(parents=True, exist_ok=True)
    troubles: list[Refused] = []
    for address in addresses:
        try:
            digest = _insist(address, wanted)
        except Refused as why:
            troubles.append(type(why)(f"{address} {why}"))
        else:
            move(wanted.part, wanted.target)
            wanted.discard()
            return digest
    offline = troubles and all(isinstance(why, Unreachable) for why in troubles)
    kind = Unreachable if offline else Refused
    raise kind("; ".join(map(str, troubles)))


def _insist(address: str, wanted: Wanted) -> str:
    """Attempt it until it succeeds, or until some tries in a row brought nothing new."""
    furthest, fruitless, connected = wanted.arrived_bytes(), 0, False
    with httpx.Client(follow_redirects=True, timeout=_TIMEOUT) as client:
        while True:
            try:
                return _attempt(client, address, wanted)
            except _Again as trouble:
                fruitless = 1 if wanted.arrived_bytes() > furthest else fruitless + 1
                furthest = max(furthest, wanted.arrived_bytes())
                connected = connected or not trouble.unreachable
                if not connected and fruitless == _CONNECTING_TRIES:
                    raise Unreachable(f"cannot be reached: {trouble}") from trouble
                if fruitless == _FRUITLESS_TRIES:
                    raise Refused(f"fails again and again: {trouble}") from trouble
                doubled = _FIRST_PAUSE_SECONDS * 2 ** (fruitless - 1)
                pause = doubled if trouble.pause_seconds is None else trouble.pause_seconds
            _sleep(min(pause, _LONGEST_PAUSE_SECONDS))


def _attempt(client: httpx.Client, address: str, wanted: Wanted) -> str:
    """The sha256 of what then is in `part`; what proves wrong there is deleted."""
    had = wanted.arrived_bytes()
    try:
        if not had or had != wanted.file.bytes:
            _receive(client, address, wanted)
    except _PASSING as error:
        why = str(error) or type(error).__name__
        raise _Again(why, unreachable=isinstance(error, _CONNECTING)) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Refused(f"cannot be asked: {error}") from error
    try:
        return verified(wanted.file, wanted.part)
    except Refused as why:
        wanted.discard()
        if had:  # The fault may lie in what was there before.
            raise _Again(str(why), pause_seconds=0) from None
        raise


def _receive(client: httpx.Client, address: str, wanted: Wanted) -> None:
    """Add to `part` what it lacks, or write all of it where the server sends all."""
    with client.stream("GET", address, headers=_headers(address, wanted)) as response:
        _check_status(response, address, wanted)
        begin = wanted.arrived_bytes() if response.status_code == 206 else 0
        lacking = _check_size(response, begin, wanted)
        mode = "ab" if begin else "wb"
        with wanted.part.open(mode) as out, progress(wanted.label, "bytes", lacking) as told:
            if not begin:
                etag = response.headers.get("ETag", "W/")
                date = response.headers.get("Last-Modified", "")
                wanted.version.write_text(date if etag.startswith("W/") else etag)
            for block in response.iter_raw():
                out.write(block)
                told.add(len(block))


def _headers(address: str, wanted: Wanted) -> dict[str, str]:
    """Asks for the rest of what was begun; without a checksum, only of the very version begun.

    HF_TOKEN goes to Hugging Face alone; httpx drops it where a redirect leaves the host.
    """
    headers = {"Accept-Encoding": "identity"}
    token = os.environ.get("HF_TOKEN", "").strip()
    if token and address.startswith(_HUGGING_FACE):
        headers["Authorization"] = f"Bearer {token}"
    version = wanted.version.read_text() if wanted.version.exists() else ""
    if wanted.arrived_bytes() and (wanted.file.sha256 or version):
        headers["Range"] = f"bytes={wanted.arrived_bytes()}-"
        if wanted.file.sha256 is None:
            headers["If-Range"] = version
    return headers


def _check_status(response: httpx.Response, address: str, wanted: Wanted) -> None:
    """Goes by unless the answer is the file, or the rest of it."""
    status = response.status_code
    if status in (401, 403) and address.startswith(_HUGGING_FACE):
        page = address.partition("/resolve/")[0]
        remedy = f"accept its licence at {page}, and set HF_TOKEN to a token of that account"
        raise UserError(address, f"asks who you are (HTTP {status})", remedy)
    if status in (408, 429) or status >= 500:
        raise _Again(f"HTTP {status}", _retry_after(response.headers.get("Retry-After", "")))
    span = response.headers.get("Content-Range", "")
    begun = f"bytes {wanted.arrived_bytes()}-"
    if status == 416 or (status == 206 and not span.startswith(begun)):
        wanted.discard()
        raise _Again(f"HTTP {status} {span}".rstrip(), pause_seconds=0)
    if status not in (200, 206):
        raise Refused(f"answers HTTP {status}")


def _retry_after(value: str) -> float | None:
    """Seconds, from a number or from a date; None of anything else."""
    if value.isdecimal():
        return float(value)
    with suppress(ValueError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _check_size(response: httpx.Response, begin: int, wanted: Wanted) -> int:
    """Bytes to come, 0 where unknown: as many as the manifest says, and not more than fit."""
    length, stated = response.headers.get("Content-Length"), wanted.file.bytes
    whole = stated or begin if length is None else begin + int(length)
    if length is not None and stated not in (None, whole):
        raise Refused(f"has {whole:,} bytes, the manifest says {stated:,}")
    lacking, free = whole - begin, shutil.disk_usage(wanted.part.parent).free
    if lacking > free:
        raise UserError(wanted.target, f"needs {lacking:,} bytes, {free:,} are free", ROOM)
    return lacking
