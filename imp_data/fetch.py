"""Downloads the files that a manifest names: resumed, verified, unpacked where it says so."""

import os
import re
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from gzip import BadGzipFile
from lzma import LZMAError
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import quote

import httpx

from imp_data.errors import UserError
from imp_data.manifest import File, Published
from imp_data.progress import progress
from imp_data.store import file_sha256, write_text, written_aside

_HUGGING_FACE = "https://huggingface.co/"
_TIMEOUT = httpx.Timeout(60.0, connect=15.0)
_PASSING = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError)
_FRUITLESS_TRIES = 6
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 300.0
_sleep = time.sleep

_AGAIN = (
    "run the same command again, it goes on where it stopped; if that does not help, the pinned "
    "revision has moved: mend the manifest, or put the file there yourself"
)
_ANEW = (
    "delete it and run the same command again; if upstream publishes it so now, the pinned "
    "revision has moved: mend the manifest"
)
_ROOM = "make room or grant access, then run the same command again; what has arrived is kept"


class _Refused(Exception):
    """Why an address, or a file on disk, does not give what the manifest names."""


class _Again(Exception):
    """A trouble that may pass, and how long to wait where that is known."""

    def __init__(self, why: str, pause_seconds: float | None = None) -> None:
        super().__init__(why)
        self.pause_seconds = pause_seconds


class _Wanted(NamedTuple):
    """A file of the manifest, where it belongs, and what of it has arrived."""

    file: File
    target: Path
    label: str

    @property
    def part(self) -> Path:
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def version(self) -> Path:
        """Holds the ETag or date of the whole that `part` is the beginning of."""
        return self.target.with_name(f".{self.target.name}.part.version")

    def arrived_bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def discard(self) -> None:
        """Forget what has arrived."""
        self.part.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)


def mirrors_from_environment() -> tuple[str, ...]:
    """The base addresses in IMP_DATA_MIRROR, parted by commas or spaces."""
    mirrors = tuple(re.findall(r"[^,\s]+", os.environ.get("IMP_DATA_MIRROR", "")))
    for mirror in mirrors:
        if not mirror.startswith(("http://", "https://")):
            raise UserError("IMP_DATA_MIRROR", f"{mirror} is no address", "begin it with https://")
    return mirrors


def obtain(published: Published, folder: Path, mirrors: Sequence[str] = ()) -> dict[str, str]:
    """sha256 by path of all files of the manifest, once they are whole in `folder`.

    A mirror has a file at `<mirror>/<name>/<path>`. What only a person can get is asked for in one
    UserError, after the rest was fetched.
    """
    digests: dict[str, str] = {}
    by_hand: list[str] = []
    for file in published.files:
        path = f"{published.name}/{file.path}"
        wanted = _Wanted(file, folder / file.path, f"raw/{path}")
        addresses = [f"{mirror.rstrip('/')}/{quote(path)}" for mirror in mirrors]
        addresses += [file.url] if file.url else []
        try:
            digests[file.path] = _digest_of(wanted, addresses)
            if file.unpack:
                _unpack(wanted.target, digests[file.path], file.unpack, folder)
        except _Refused as why:
            if file.by_hand is None:
                raise UserError(wanted.target, f"cannot be fetched: {why}", _AGAIN) from None
            tried = f" ({why})" if addresses else ""
            by_hand.append(f"\n  {wanted.target}\n    {file.by_hand}{tried}")
        except OSError as error:
            raise UserError(wanted.target, f"cannot be read or written: {error}", _ROOM) from error
    if by_hand:
        problem = f"to be got by hand, {len(by_hand)} in all:{''.join(by_hand)}"
        raise UserError(published.name, problem, "put each there, then run the same command again")
    return digests


def _digest_of(wanted: _Wanted, addresses: Sequence[str]) -> str:
    """The sha256 of the file: verified where it is there already, else fetched."""
    if not wanted.target.exists():
        return _fetched(wanted, addresses)
    try:
        return _verified(wanted.file, wanted.target)
    except _Refused as why:
        raise UserError(wanted.target, str(why), _ANEW) from None


def _verified(file: File, path: Path) -> str:
    """The sha256 of what is at `path`. Raises _Refused unless it is what the manifest states."""
    size = path.stat().st_size
    if file.bytes not in (None, size):
        raise _Refused(f"has {size:,} bytes, the manifest says {file.bytes:,}")
    digest = file_sha256(path)
    if file.sha256 not in (None, digest):
        raise _Refused(f"has sha256 {digest}, the manifest says {file.sha256}")
    return digest


def _fetched(wanted: _Wanted, addresses: Sequence[str]) -> str:
    """The sha256 of the file, put in place from the first address that has what is wanted."""
    wanted.target.parent.mkdir(parents=True, exist_ok=True)
    troubles: list[str] = []
    for address in addresses:
        try:
            digest = _insist(address, wanted)
        except _Refused as why:
            troubles.append(f"{address} {why}")
        else:
            os.replace(wanted.part, wanted.target)
            wanted.discard()
            return digest
    raise _Refused("; ".join(troubles))


def _insist(address: str, wanted: _Wanted) -> str:
    """Attempt it until it succeeds, or until some tries in a row brought nothing new."""
    furthest, fruitless = wanted.arrived_bytes(), 0
    with httpx.Client(follow_redirects=True, timeout=_TIMEOUT) as client:
        while True:
            try:
                return _attempt(client, address, wanted)
            except _Again as trouble:
                fruitless = 1 if wanted.arrived_bytes() > furthest else fruitless + 1
                furthest = max(furthest, wanted.arrived_bytes())
                if fruitless == _FRUITLESS_TRIES:
                    raise _Refused(f"fails again and again: {trouble}") from trouble
                doubled = _FIRST_PAUSE_SECONDS * 2 ** (fruitless - 1)
                pause = doubled if trouble.pause_seconds is None else trouble.pause_seconds
            _sleep(min(pause, _LONGEST_PAUSE_SECONDS))


def _attempt(client: httpx.Client, address: str, wanted: _Wanted) -> str:
    """The sha256 of what then is in `part`; what proves wrong there is deleted."""
    had = wanted.arrived_bytes()
    try:
        if not had or had != wanted.file.bytes:
            _receive(client, address, wanted)
    except _PASSING as error:
        raise _Again(str(error) or type(error).__name__) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _Refused(f"cannot be asked: {error}") from error
    try:
        return _verified(wanted.file, wanted.part)
    except _Refused as why:
        wanted.discard()
        if had:  # The fault may lie in what was there before.
            raise _Again(str(why), pause_seconds=0) from None
        raise


def _receive(client: httpx.Client, address: str, wanted: _Wanted) -> None:
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


def _headers(address: str, wanted: _Wanted) -> dict[str, str]:
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


def _check_status(response: httpx.Response, address: str, wanted: _Wanted) -> None:
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
        raise _Refused(f"answers HTTP {status}")


def _retry_after(value: str) -> float | None:
    """Seconds, from a number or from a date; None of anything else."""
    if value.isdecimal():
        return float(value)
    with suppress(ValueError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _check_size(response: httpx.Response, begin: int, wanted: _Wanted) -> int:
    """Bytes to come, 0 where unknown: as many as the manifest says, and not more than fit."""
    length, stated = response.headers.get("Content-Length"), wanted.file.bytes
    whole = stated or begin if length is None else begin + int(length)
    if length is not None and stated not in (None, whole):
        raise _Refused(f"has {whole:,} bytes, the manifest says {stated:,}")
    lacking, free = whole - begin, shutil.disk_usage(wanted.part.parent).free
    if lacking > free:
        raise UserError(wanted.target, f"needs {lacking:,} bytes, {free:,} are free", _ROOM)
    return lacking


_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, BadGzipFile, EOFError),
    *(RuntimeError, ValueError, LookupError),  # encrypted, compressed as nobody knows, misnamed
)
_INSIDE = re.compile(r"(?![/\\])(?!(.*[/\\])?\.\.([/\\]|$))", re.DOTALL)
_Members = Iterator[tuple[str, IO[bytes] | None]]


def _unpack(archive: Path, digest: str, globs: Sequence[str], folder: Path) -> None:
    """Lay the members that a glob matches below `folder`, unless the marker says it was done."""
    marker = archive.with_name(f".{archive.name}.unpacked")
    finished = "\n".join((digest, *globs))
    if marker.exists() and marker.read_text() == finished:
        return
    marker.unlink(missing_ok=True)
    names: list[str] = []
    try:
        for name, content in _members(archive, globs):
            names.append(name)
            if content is None:
                problem = f"member {name} is a link or a device, or leads out of the folder"
                raise UserError(archive, problem, "do not trust this archive; get it elsewhere")
            with content, written_aside(folder / name) as aside, aside.open("wb") as out:
                shutil.copyfileobj(content, out)
    except _DAMAGED as error:
        problem = f"is damaged at or after {names[-1] if names else 'its beginning'}: {error}"
        raise UserError(archive, problem, _ANEW) from error
    if idle := [g for g in globs if not any(fnmatchcase(name, g) for name in names)]:
        remedy = "mend `unpack` of this file in the manifest"
        raise UserError(archive, f"no member matches {', '.join(idle)}", remedy)
    write_text(marker, finished)


def _members(archive: Path, globs: Sequence[str]) -> _Members:
    """Name and content of what a glob matches; no content where it is not safe to lay down."""

    def matches(name: str) -> bool:
        return "__MACOSX" not in name.split("/") and any(fnmatchcase(name, g) for g in globs)

    if archive.suffix.lower() == ".zip":
        return _zip_members(archive, matches)
    return _tar_members(archive, matches)


def _zip_members(archive: Path, matches: Callable[[str], bool]) -> _Members:
    with zipfile.ZipFile(archive) as whole:
        for info in whole.infolist():
            if matches(info.filename) and not info.is_dir():
                regular = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
                safe = regular and _INSIDE.match(info.filename)
                yield info.filename, whole.open(info) if safe else None


def _tar_members(archive: Path, matches: Callable[[str], bool]) -> _Members:
    with tarfile.open(archive) as whole:
        for info in whole:
            name = info.name.removeprefix("./")
            if matches(name) and not info.isdir():
                safe = info.isfile() and _INSIDE.match(name)
                yield name, whole.extractfile(info) if safe else None
        # tarfile takes a damaged header for the end of the archive.
        whole.fileobj.seek(whole.offset)
        if whole.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"no header at byte {whole.offset:,}")
