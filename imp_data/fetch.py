"""Obtains the files that a manifest names: fetched, verified, unpacked where it says so."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from imp_data.download import ROOM, Refused, Unreachable, Wanted, fetched, verified
from imp_data.errors import ANEW, UserError
from imp_data.file_kinds import HEAD_BYTES, described, file_kind
from imp_data.manifest import File, Limits, Published
from imp_data.objects import is_there
from imp_data.ranges import opened
from imp_data.unpack import unpack

_AGAIN = (
    "run the same command again, it goes on where it stopped; if that does not help, the pinned "
    "revision has moved: correct the manifest, or put the file there yourself"
)
OFFLINE = (
    "connect this machine, or name a proxy in HTTPS_PROXY or a mirror in IMP_DATA_MIRROR, then run "
    "the same command again; what has arrived is kept, and files put in place by hand are used"
)
# By a file's ending, the kinds that are read as what it names. JSON's are told apart by the records
# stage, which reads more of them.
_ARCHIVES = {"zip", "tar"}
_KINDS = {
    ".zip": _ARCHIVES,
    ".tar": _ARCHIVES,
    ".parquet": {"parquet"},
    **dict.fromkeys((".gz", ".tgz", ".bz2", ".xz"), _ARCHIVES | {"gzip", "bzip2", "xz"}),
}
_STEPS = {
    "git-lfs pointer": "get the file itself (git lfs pull), or download it from its address",
    "html": "open it in a browser: it says why the file was not served; then download it again",
    "gzip": "a tar.gz or gz: unpack it (gunzip), and give the unpacked file this name",
}


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
    limits: Limits | None = None,
) -> dict[str, str]:
    """sha256 by path of all files of manifests that share a name, once they are whole in `folder`.

    A mirror has a file at `<mirror>/<name>/<path>`. One UserError, after the rest was fetched, asks
    for all that only a person can download. `limits` are of what is unpacked.
    """
    digests: dict[str, str] = {}
    missing: list[Manual] = []
    for published, file in ((m, f) for m in manifests for f in m.files):
        path = f"{published.name}/{file.path}"
        wanted = Wanted(file, folder / file.path, f"raw/{path}")
        addresses = [f"{mirror.rstrip('/')}/{quote(path)}" for mirror in mirrors]
        addresses += [file.url] if file.url else []
        try:
            digests[file.path] = _digest_of(wanted, addresses)
            check_kind(wanted.target)
            if file.unpack:
                unpack(wanted.target, digests[file.path], file.unpack, folder, limits)
        except Refused as why:
            if file.by_hand is None:
                remedy = OFFLINE if isinstance(why, Unreachable) else _AGAIN
                raise UserError(wanted.target, f"cannot be fetched: {why}", remedy) from None
            missing.append(manual(published, file, folder, str(why) if addresses else ""))
        except OSError as error:
            raise UserError(wanted.target, f"cannot be read or written: {error}", ROOM) from error
    if missing:
        remedy = "put each there, then run the same command again"
        raise UserError(manifests[0].name, asks_for(missing), remedy)
    return digests


def check_kind(path: Path) -> None:
    """Raise UserError if the first bytes of a file show another kind than its name promises."""
    read_as = _KINDS.get(path.suffix.lower())
    if read_as is None:
        return
    with opened(path) as file:
        kind = file_kind(file.read(HEAD_BYTES))
    if kind is not None and kind not in read_as:
        problem = f"is {described(kind)}, although its name ends in {path.suffix}"
        raise UserError(path, problem, _STEPS.get(kind, ANEW))


def _digest_of(wanted: Wanted, addresses: Sequence[str]) -> str:
    """The sha256 of the file: verified where it is there already, else fetched."""
    if not is_there(wanted.target):
        return fetched(wanted, addresses)
    try:
        return verified(wanted.file, wanted.target)
    except Refused as why:
        check_kind(wanted.target)
        remedy = f"{ANEW}; to use this file as it is, correct its sha256 and bytes in the manifest"
        raise UserError(wanted.target, str(why), remedy) from None
