"""Paths of files and folders: on this machine, or in an object store."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from imp_data.errors import UserError
from imp_data.storage.object_path import ObjectPath, missing_package


def parse_path(text: str) -> Path:
    """Return the path that a local path or a URL names; see ObjectPath for a URL's.

    Raise UserError if fsspec does not know the protocol or lacks a package for it.
    """
    protocol, mark, rest = text.partition("://")
    if not mark:
        return Path(expand_user(text))
    if protocol in ("file", "local"):
        return Path(expand_user(rest))
    import fsspec

    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        raise missing_package(text, error) from error
    except ValueError as error:
        remedy = "name a folder, or a URL such as s3://bucket/folder"
        raise UserError(text, f"is no URL that fsspec knows ({error})", remedy) from error
    return ObjectPath(text.rstrip("/"))


def expand_user(path: str) -> str:
    """Expand `~` and `~ann` as a shell does; keep the path if there is no such user.

    Raise UserError if no home directory is known, since a folder named `~` is never meant.
    """
    expanded = os.path.expanduser(path)
    if expanded.split("/")[0] == "~":
        raise UserError(path, "begins with ~, but no home directory is known", "set HOME")
    return expanded


def scratch_path(target: Path) -> Path:
    """Return a path below IMP_SCRATCH at which to write what is uploaded to `target`.

    Equal for every attempt, so that a later one finds what a killed one left.
    """
    folder = _scratch_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise UserError(folder, "belongs to another user", "set IMP_SCRATCH to a folder of yours")
    return folder / f"{hashlib.sha256(str(target).encode()).hexdigest()[:16]}-{target.name}"


def _scratch_folder() -> Path:
    named = os.environ.get("IMP_SCRATCH", "").strip()
    default = Path(tempfile.gettempdir()) / f"imp-data-{os.getuid()}"
    return Path(expand_user(named) or default).absolute()


def in_scratch(path: Path) -> bool:
    """Return whether a path is in the scratch folder, which other machines do not see."""
    return path.parent == _scratch_folder()


def local_path(target: Path) -> Path:
    """Return a path on this machine at which to write `target`: itself unless in a store."""
    return scratch_path(target) if isinstance(target, ObjectPath) else target


def local_folder(folder: Path) -> Path:
    """Return the folder whose disk holds files while they are written to `folder`."""
    return scratch_path(folder).parent if isinstance(folder, ObjectPath) else folder


def files_at_once(folder: Path, most: int) -> int:
    """Return how many files to write to a folder at once.

    One if it is in an object store: on their way there, files lie on the scratch disk.
    """
    return 1 if isinstance(folder, ObjectPath) else most


def free_bytes(folder: Path) -> int | None:
    """Return the free bytes on a folder's disk; None for an object store, which states none."""
    if isinstance(folder, ObjectPath):
        return None
    return shutil.disk_usage(next(f for f in (folder, *folder.parents) if f.is_dir())).free


def has_latency(path: Path) -> bool:
    """Return whether each access waits for a network, so that several at once pay off."""
    return isinstance(path, ObjectPath)


def check_local(path: Path, name: str, reason: str, remedy: str) -> None:
    """Raise UserError unless `path`, the value of `name`, is on this machine."""
    if isinstance(path, ObjectPath):
        raise UserError(name, f"is {path}, but {reason}", remedy)
