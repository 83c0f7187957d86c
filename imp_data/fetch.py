"""Obtains the files that a manifest names: fetched, verified, unpacked where it says so."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from imp_data.download import ROOM, Refused, Wanted, fetched, verified
from imp_data.errors import UserError
from imp_data.manifest import Published
from imp_data.objects import is_there
from imp_data.unpack import ANEW, unpack

_AGAIN = (
    "run the same command again, it goes on where it stopped; if that does not help, the pinned "
    "revision has moved: mend the manifest, or put the file there yourself"
)


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
        wanted = Wanted(file, folder / file.path, f"raw/{path}")
        addresses = [f"{mirror.rstrip('/')}/{quote(path)}" for mirror in mirrors]
        addresses += [file.url] if file.url else []
        try:
            digests[file.path] = _digest_of(wanted, addresses)
            if file.unpack:
                unpack(wanted.target, digests[file.path], file.unpack, folder)
        except Refused as why:
            if file.by_hand is None:
                raise UserError(wanted.target, f"cannot be fetched: {why}", _AGAIN) from None
            tried = f" ({why})" if addresses else ""
            by_hand.append(f"\n  {wanted.target}\n    {file.by_hand}{tried}")
        except OSError as error:
            raise UserError(wanted.target, f"cannot be read or written: {error}", ROOM) from error
    if by_hand:
        problem = f"to be got by hand, {len(by_hand)} in all:{''.join(by_hand)}"
        raise UserError(published.name, problem, "put each there, then run the same command again")
    return digests


def _digest_of(wanted: Wanted, addresses: Sequence[str]) -> str:
    """The sha256 of the file: verified where it is there already, else fetched."""
    if not is_there(wanted.target):
        return fetched(wanted, addresses)
    try:
        return verified(wanted.file, wanted.target)
    except Refused as why:
        raise UserError(wanted.target, str(why), ANEW) from None
