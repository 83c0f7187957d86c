"""A finished folder takes the place of an earlier one in one step; files of others move along.

The new folder and the one before exchange their names, which Linux does at once. Others' files are
in both by then, as hard links; their folders follow by rename. Where a file system exchanges no
names, two renames do it; where it renames no folder, one file is put in place after another.

A run that is killed leaves one of three things beside the folder, which the next run clears up:
`.<name>.partial` is unfinished. `.<name>.replaced` is, with the exchange ahead, the new folder, and
afterwards the one before: it goes once others' files are out of it. `.<name>.before` is the whole
folder before, between the two renames: it gets its name back.
"""

import ctypes
import errno
import filecmp
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.redaction import redacted
from imp_data.storage.object_path import ObjectPath

# Whether a file or folder in a finished folder is of those that its writer puts there.
Ours = Callable[[Path], bool]

# How what is beside a folder ends, by its stage.
KINDS = ("partial", "replaced", "before")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
# Of file systems that cannot exchange two names, and of kernels and places that forbid it.
_NO_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV}
# Of a mount point, and of a folder in a lower layer of overlayfs.
_NO_RENAME = {errno.EBUSY, errno.EINVAL, errno.EXDEV}


def everything(path: Path) -> bool:
    """Ours, of a folder in which nobody else keeps anything."""
    return True


def replace_folder(new: Path, folder: Path, last: str, ours: Ours) -> None:
    """Put a finished folder, `.<name>….partial`, in the place of one that is there.

    What is not `ours` there is kept, under its name. `last` is the file without which the folder is
    not whole, for file systems that rename no folder.
    """
    if not folder.is_dir():
        raise UserError(folder, "is a file, where a folder is to be", "name another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    clear_up(new, folder, ours)
    written = sorted(path.name for path in new.iterdir())
    for path in sorted(folder.iterdir()):
        if not ours(path) and (path.is_symlink() or not path.is_dir()):
            with suppress(OSError):  # it is carried over by rename then
                os.link(path, new / path.name, follow_symlinks=False)
    _copy_access(folder, new)
    replaced = _beside(new, "replaced")
    os.rename(new, replaced)
    if _exchanged(replaced, folder) or _renamed(replaced, folder, _beside(new, "before")):
        _empty(replaced, folder, ours)
    else:
        _fill(replaced, folder, written, last, ours)


def _copy_access(folder: Path, new: Path) -> None:
    """Give the new folder the owner, group and permissions of the one before."""
    state = folder.stat()
    with suppress(OSError):  # others' folders are given away by root alone
        os.chown(new, state.st_uid, state.st_gid)
    shutil.copystat(folder, new)


def clear_up(new: Path, folder: Path, ours: Ours) -> None:
    """Bring to an end what a killed run began; `new` is the name that it wrote to."""
    replaced, before = _beside(new, "replaced"), _beside(new, "before")
    if before.is_dir() and not os.path.lexists(folder):
        os.rename(before, folder)
    for left in (replaced, before):
        if left.is_dir() and folder.is_dir():
            _empty(left, folder, ours)


def check_not_moved(folder: Path) -> None:
    """Raise UserError where a folder is gone because a run was killed as it replaced it."""
    if isinstance(folder, ObjectPath) or os.path.lexists(folder):
        return
    for path, kind in _left(folder):
        if kind == "before":
            raise UserError(
                folder,
                f"is not there: a run was killed as it replaced it; the one before is {path.name}, "
                "beside it",
                "run the command again that writes it, which puts that back first",
            )


def half_emptied(folder: Path, ours: Ours) -> list[Path]:
    """What of others' is in a replaced folder, since a run was killed before it moved it on."""
    if isinstance(folder, ObjectPath):
        return []
    left = (path for path, kind in _left(folder) if kind == "replaced" and folder.is_dir())
    return [
        entry
        for path in left
        for entry in sorted(path.iterdir())
        if not ours(entry) and not os.path.lexists(folder / entry.name)
    ]


def _left(folder: Path) -> Iterator[tuple[Path, str]]:
    """What runs have left beside a folder, by any machine and process."""
    name = re.escape(folder.name)
    pattern = re.compile(rf"\.{name}(\.\w+-\d+-\d+)?\.(?P<kind>replaced|before)")
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted(folder.parent.iterdir()):
            if found := pattern.fullmatch(path.name):
                yield path, found["kind"]


def _beside(new: Path, kind: str) -> Path:
    return new.with_name(f"{new.name.removesuffix('.partial')}.{kind}")


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange the names of two folders at once; False where that cannot be done here."""
    exchange = getattr(_libc(), "renameat2", None)
    if exchange is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    if exchange(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE | _NO_RENAME:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _renamed(replaced: Path, folder: Path, before: Path) -> bool:
    """The same by two renames; False where the folder cannot be renamed."""
    try:
        os.rename(folder, before)
    except OSError as error:
        if error.errno not in _NO_RENAME:
            raise
        return False
    os.rename(replaced, folder)
    os.rename(before, replaced)
    return True


def _fill(new: Path, folder: Path, written: Sequence[str], last: str, ours: Ours) -> None:
    """Put one file after another in place, `last` at the end; the old one of it goes first."""
    if last:
        delete(folder / last)
    for path in sorted(folder.iterdir()):
        if path.name in written and not ours(path):
            _carry(path, folder)
        elif path != new and ours(path) and (path.is_dir() or path.name not in written):
            delete(path)
    for name in sorted(written, key=lambda name: name == last):
        _put(new / name, folder / name)
    delete(new)


def _put(path: Path, target: Path) -> None:
    """Move a file or folder; from another disk, or what counts as one, by way of a copy."""
    try:
        os.replace(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        aside = target.with_name(f".{target.name}.partial")
        delete(aside)
        shutil.copytree(path, aside) if path.is_dir() else shutil.copy2(path, aside)
        os.replace(aside, target)


def _empty(left: Path, folder: Path, ours: Ours) -> None:
    """Remove what is ours from a replaced folder, carry the rest over, and remove the folder."""
    # A program that has the folder open may still write to it.
    while entries := sorted(left.iterdir()):
        for path in entries:
            if ours(path):
                delete(path)
            else:
                _carry(path, folder)
    left.rmdir()


def _carry(path: Path, folder: Path) -> None:
    """Move what is not ours into the new folder, under another name where that one is taken."""
    target = folder / path.name
    if path != target and _same(path, target):
        delete(path)
        return
    number = 0
    while os.path.lexists(target):
        number += 1
        target = folder / f"{path.stem}.kept-{number}{path.suffix}"
    try:
        os.rename(path, target)
    except OSError as error:
        problem = f"cannot be moved to {folder} ({error.strerror}), where a new folder now stands"
        raise UserError(path, problem, "move it there, then run the same command again") from error
    if number:
        told = f"was {path.name} in the folder before; another has that name now"
        print(redacted(f"{target}: {told}"), file=sys.stderr)


def _same(path: Path, target: Path) -> bool:
    """Whether two names stand for one file, or for files of the same bytes."""
    if not os.path.lexists(target):
        return False
    if os.path.samestat(path.lstat(), target.lstat()):
        return True
    files = all(one.is_file() and not one.is_symlink() for one in (path, target))
    return files and filecmp.cmp(path, target, shallow=False)


def delete(path: Path) -> None:
    """Remove a file or folder of this machine, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
