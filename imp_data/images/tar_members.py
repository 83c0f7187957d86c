"""Index the members of a plain tar: the position of their bytes, and their links."""

import tarfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from imp_data.errors import UserError
from imp_data.images.archive_links import MOST_PATH_CHARACTERS, link_target, resolve_links
from imp_data.storage.archives import ARCHIVE_REMEDY
from imp_data.storage.image_paths import normalize_path
from imp_data.storage.object_store import ObjectState
from imp_data.storage.range_reader import open_file
from imp_data.storage.tar_stream import MOST_MEMBERS, StoredMember, iterate_members, stored_member


class TarMembers(NamedTuple):
    """Members by name in normal form (`./a` is `a`); links of both kinds with what they lead to.

    The last of several members of one name counts.
    """

    files: dict[str, StoredMember]
    links: dict[str, str]

    def get(self, name: str) -> StoredMember | None:
        """Return the member of that name, or the target of a link of that name."""
        found = self.files.get(name)
        if found is None and self.links:
            target = resolve_links(name, self.links)
            return None if target is None else self.files.get(target)
        return found


@lru_cache(maxsize=64)
def tar_members(path: Path, state: int | ObjectState) -> TarMembers:
    """Index the members of an uncompressed tar, once in each process."""
    found = TarMembers({}, {})
    try:
        with open_file(path) as file:
            for count, (member, end) in enumerate(iterate_members(file)):
                if count == MOST_MEMBERS:
                    raise tarfile.ReadError(f"it has more than {MOST_MEMBERS:,} members")
                _add(found, member, end)
    except tarfile.TarError as error:
        raise UserError(path, f"is not a whole plain tar ({error})", ARCHIVE_REMEDY) from error
    return found


def _add(found: TarMembers, member: tarfile.TarInfo, end: int) -> None:
    name = member_name(member.name)
    if len(name) > MOST_PATH_CHARACTERS:
        return  # no path can name it
    if member.isfile():
        found.links.pop(name, None)
        found.files[name] = stored_member(member, end)
        return
    # The first member that a hard link shares has the bytes.
    hard = member.islnk()
    target = member_name(member.linkname) if hard else link_target(name, member.linkname)
    if (hard or member.issym()) and target is not None and target != name:
        found.files.pop(name, None)
        found.links[name] = target


def member_name(name: str) -> str:
    """Return a member's name in normal form: no leading slash, `./`, `//` or backslash."""
    if "\\" in name or "//" in name or name[:1] in "./" or "/./" in name or name[-1:].isspace():
        return normalize_path(name).lstrip("/").removeprefix("./")
    return name
