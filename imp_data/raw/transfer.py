"""One request for a file, or for the rest of it, and what of its answer is written to disk."""

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import orjson

from imp_data.errors import UserError
from imp_data.manifests import File
from imp_data.parallel.progress import progress
from imp_data.raw.http_response import Again, Begun, Refused, Span, check_size, span_of, version_of
from imp_data.raw.minimum_speed import Pace
from imp_data.raw.redirects import answered
from imp_data.redaction import address as shown
from imp_data.storage.paths import local_path

_HUGGING_FACE = "https://huggingface.co/"
# A file of unknown size must not fill the disk, which other programs need too.
_SPARED_BYTES = 1 << 30
_LOOK_AT_DISK_BYTES = 64 << 20

ROOM = "make room or grant access, then run the same command again; what has arrived is kept"


class Wanted(NamedTuple):
    """A file of the manifest, where it belongs, and what of it has arrived.

    `stated_by` says who states its size and sha256. `named`: the hosts that may be private ones.
    """

    file: File
    target: Path
    label: str
    stated_by: str = "the manifest"
    named: Collection[str] = ()

    @property
    def part(self) -> Path:
        return part_of(self.target)

    @property
    def version(self) -> Path:
        """Says of which version the bytes in `part` are: its address, ETag or date, and size."""
        return self.part.with_name(f"{self.part.name}.version")

    def begun(self, address: str) -> Begun:
        """What has arrived and can be gone on with from this address.

        Without a sha256 that is only the very version begun.
        """
        size = arrived_bytes(self.target)
        try:
            noted = orjson.loads(self.version.read_bytes())
            version, total = str(noted["version"]), noted["total"]
            same = noted["address"] == _digest(address)
        except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError):
            version, total, same = "", None, False
        if same and version:
            return Begun(size, version, total)
        return Begun(size if self.file.sha256 else 0)

    def note(self, address: str, response: httpx.Response, total: int | None) -> None:
        """Keep of which version the bytes are that follow."""
        told = {"address": _digest(address), "version": version_of(response.headers)}
        self.version.write_bytes(orjson.dumps({**told, "total": total}))

    def discard(self) -> None:
        """Forget what has arrived."""
        self.part.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)


def part_of(target: Path) -> Path:
    """Where on this machine a file is while it comes."""
    whole = local_path(target)
    return whole.with_name(f".{whole.name}.part")


def arrived_bytes(target: Path) -> int:
    """The size of what has arrived of a file."""
    part = part_of(target)
    return part.stat().st_size if part.exists() else 0


def _digest(address: str) -> str:
    """Tells addresses apart and shows nothing of them; a new signature is the same address."""
    return hashlib.sha256(shown(address).encode()).hexdigest()[:16]


class Wrong(Refused):
    """What has arrived is not the file."""


def receive(client: httpx.Client, address: str, wanted: Wanted, pace: Pace) -> bool:
    """Add to `part` what it lacks, or write it anew; False if the server has sent a piece alone."""
    pace.ask()
    begun = wanted.begun(address)
    headers = _headers(address, wanted.file, begun)
    with answered(client, address, headers, wanted.named) as response:
        _check_access(response, address)
        span = span_of(response, wanted.file, begun, wanted.stated_by)
        if span is None:
            return True
        lacking = _lacking(span, wanted)
        if not span.begin:
            wanted.note(address, response, span.total)
        with progress(wanted.label, "bytes", lacking) as told:
            size = _write(response, span, wanted, (pace.add, told.add))
    if span.end not in (None, size):
        raise Again(f"ends after {size:,} of {span.end:,} bytes")
    if not size and wanted.file.bytes != 0 and wanted.file.sha256 is None:
        raise Wrong("answers with an empty body")
    return response.status_code == 200 or size == (span.total or wanted.file.bytes)


def _write(
    response: httpx.Response, span: Span, wanted: Wanted, counts: Sequence[Callable[[int], None]]
) -> int:
    """The size of `part` when the answer ends; never more is written than may come."""
    size, looked_at = span.begin, span.begin
    with wanted.part.open("r+b" if span.begin else "wb") as out:
        out.seek(span.begin)
        for block in response.iter_raw():
            if span.end is not None and size + len(block) > span.end:
                raise Wrong(f"sends more than the {span.end:,} bytes that it said")
            try:
                check_size(size + len(block), wanted.file, wanted.stated_by)
            except Refused as why:
                raise Wrong(str(why)) from None
            out.write(block)
            size += len(block)
            for count in counts:
                count(len(block))
            if span.total is None and size - looked_at >= _LOOK_AT_DISK_BYTES:
                looked_at = size
                _check_room(wanted, 0, _SPARED_BYTES)
    return size


def _headers(address: str, file: File, begun: Begun) -> dict[str, str]:
    """Asks for the rest of what was begun; without a checksum, only of the very version begun.

    HF_TOKEN goes to Hugging Face alone; httpx drops it where a redirect leaves the host.
    """
    headers = {"Accept-Encoding": "identity"}
    token = os.environ.get("HF_TOKEN", "").strip()
    if token and address.startswith(_HUGGING_FACE):
        headers["Authorization"] = f"Bearer {token}"
    if begun.bytes:
        headers["Range"] = f"bytes={begun.bytes}-"
        if file.sha256 is None:
            headers["If-Range"] = begun.version
    return headers


def _check_access(response: httpx.Response, address: str) -> None:
    """Raise UserError where Hugging Face wants to know who asks."""
    status = response.status_code
    if status in (401, 403) and address.startswith(_HUGGING_FACE):
        page = address.partition("/resolve/")[0]
        remedy = f"accept its licence at {page}, and set HF_TOKEN to a token of that account"
        raise UserError(address, f"asks who you are (HTTP {status})", remedy)


def _lacking(span: Span, wanted: Wanted) -> int:
    """Bytes to come, 0 where unknown. Raises UserError where they do not fit."""
    whole = span.end or wanted.file.bytes or span.begin
    _check_room(wanted, whole - span.begin)
    return whole - span.begin


def _check_room(wanted: Wanted, lacking: int, spared: int = 0) -> None:
    free = shutil.disk_usage(wanted.part.parent).free
    if lacking > free:
        raise UserError(wanted.target, f"needs {lacking:,} bytes, {free:,} are free", ROOM)
    if free < spared:
        problem = f"is of unknown size and leaves {free:,} bytes free, fewer than {spared:,}"
        raise UserError(wanted.target, problem, ROOM)
