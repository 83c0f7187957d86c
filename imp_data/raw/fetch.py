"""Obtains the files that a manifest names: fetched, verified, unpacked where it says so."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from imp_data.errors import ANEW, UserError
from imp_data.manifests import File, Limits, Published
from imp_data.manifests.lockfile import Locks
from imp_data.raw.download import download, verify_checksum
from imp_data.raw.expected_file import Expected, check_kind
from imp_data.raw.extract import extract
from imp_data.raw.http_response import Refused, Unreachable
from imp_data.raw.transfer import ROOM, Wanted, arrived_bytes
from imp_data.storage.object_store import is_there
from imp_data.storage.paths import free_bytes

_AGAIN = (
    "run the same command again, it goes on where it stopped; if that does not help, the pinned "
    "revision has moved: correct the manifest, or put the file there yourself"
)
OFFLINE = (
    "connect this machine, or name a proxy in HTTPS_PROXY or a mirror in IMP_DATA_MIRROR, then run "
    "the same command again; what has arrived is kept, and files put in place by hand are used"
)


class Manual(NamedTuple):
    """A file that a person downloads, and where it belongs; `tried`: why mirrors do not have it."""

    file: File
    target: Path
    license: str
    instructions: str
    tried: str = ""

    def __str__(self) -> str:
        size = "size unknown" if self.file.bytes is None else f"{self.file.bytes:,} bytes"
        tried = f" ({self.tried})" if self.tried else ""
        about = f"{self.target} ({size}, licence {self.license})"
        return f"{about}\n    {self.instructions}{tried}"


def mirrors_from_environment() -> tuple[str, ...]:
    """The base addresses in IMP_DATA_MIRROR, parted by commas or spaces."""
    mirrors = tuple(re.findall(r"[^,\s]+", os.environ.get("IMP_DATA_MIRROR", "")))
    for mirror in mirrors:
        if not mirror.startswith(("http://", "https://")):
            raise UserError("IMP_DATA_MIRROR", f"{mirror} is no address", "begin it with https://")
    return mirrors


def manual(published: Published, file: File, folder: Path, tried: str = "") -> Manual:
    """What to say of a file that a person downloads into `folder`, the raw folder of its name."""
    # Manifests write of the default data directory.
    instructions = (file.by_hand or "").replace("data/raw/", f"{folder.parent}/")
    return Manual(file, folder / file.path, published.license, instructions, tried)


def asks_for(missing: Sequence[Manual]) -> str:
    """The sentence that asks for these files, in a list with a line each."""
    files = "this file" if len(missing) == 1 else f"these {len(missing)} files"
    return f"download {files} manually:" + "".join(f"\n  {one}" for one in missing)


def obtain(
    manifests: Sequence[Published],
    folder: Path,
    mirrors: Sequence[str] = (),
    locks: Locks | None = None,
    limits: Limits | None = None,
) -> dict[str, str]:
    """sha256 by path of all files of manifests that share a name, once they are whole in `folder`.

    A mirror has a file at `<mirror>/<name>/<path>`. A file without a sha256 in its manifest must be
    what its line in the lock says, and gets one if there is none. `limits` are of what is unpacked.
    One UserError, after the rest was fetched, asks for all that only a person can download.
    """
    digests: dict[str, str] = {}
    missing: list[Manual] = []
    _check_room(manifests, folder)
    named = _hosts([*mirrors, *(f.url for m in manifests for f in m.files if f.url)])
    for published, file in ((m, f) for m in manifests for f in m.files):
        path = f"{published.name}/{file.path}"
        one = Expected(published, file, locks)
        wanted = Wanted(one.file, folder / file.path, f"raw/{path}", one.stated_by, named)
        addresses = [_at_mirror(mirror, path) for mirror in mirrors]
        addresses += [file.url] if file.url else []
        try:
            digests[file.path] = _digest_of(wanted, addresses, one)
            check_kind(wanted.target)
            if file.unpack:
                extract(wanted.target, digests[file.path], file.unpack, folder, limits)
        except Refused as why:
            if file.by_hand is None:
                remedy = OFFLINE if isinstance(why, Unreachable) else one.remedy(_AGAIN)
                raise UserError(wanted.target, f"cannot be fetched: {why}", remedy) from None
            missing.append(manual(published, file, folder, str(why) if addresses else ""))
        except OSError as error:
            raise UserError(wanted.target, f"cannot be read or written: {error}", ROOM) from error
    if missing:
        remedy = "put each there, then run the same command again"
        raise UserError(manifests[0].name, asks_for(missing), remedy)
    return digests


def _check_room(manifests: Sequence[Published], folder: Path) -> None:
    """Raise UserError where the disk has no room for all files of known size still to be fetched.

    For an object store each file is made by itself on this machine's scratch disk.
    """
    free = free_bytes(folder)
    if free is None:
        return
    lacking = {
        file.path: file.bytes - arrived_bytes(folder / file.path)
        for file in (file for m in manifests for file in m.files)
        if file.bytes is not None and file.url and not (folder / file.path).exists()
    }
    if sum(lacking.values()) > free:
        problem = (
            f"needs {sum(lacking.values()):,} bytes for {len(lacking)} files, {free:,} are free"
        )
        raise UserError(folder, problem, ROOM)


def _at_mirror(mirror: str, path: str) -> str:
    """The file's address there; a query, such as a store's signature, stays behind the path."""
    parts = urlsplit(mirror)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(path)}"))


def _hosts(addresses: Sequence[str]) -> frozenset[str]:
    return frozenset(host for url in addresses if (host := host_of(url)))


def host_of(url: str) -> str:
    """The host that an address names; "" where it is no address."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _digest_of(wanted: Wanted, addresses: Sequence[str], one: Expected) -> str:
    """The sha256 of the file: verified where it is there already, else fetched."""
    if not is_there(wanted.target):
        return download(wanted, addresses, one.arrived)
    try:
        digest = verify_checksum(wanted.file, wanted.target, wanted.stated_by)
        check_kind(wanted.target)
        one.learn(wanted.target, digest)
        return digest
    except Refused as why:
        check_kind(wanted.target)
        as_it_is = "to use this file as it is, correct its sha256 and bytes in the manifest"
        remedy = one.remedy(f"{ANEW}; {as_it_is}")
        raise UserError(wanted.target, str(why), remedy) from None
