"""Replace a folder by a finished new one atomically, keeping foreign files in it.

The new and the old folder exchange their names, which Linux does atomically. Foreign files are hard
links in both by then; foreign folders are renamed into the new folder afterwards. On a file system
that exchanges no names, two renames replace the folder; on one that renames no folder, the files
are replaced one by one.

A killed run leaves one of three folders beside `<name>`, which the next run handles:
`.<name>.partial` is unfinished and deleted. `.<name>.replaced` is the new folder before the
exchange and the old one after it; it is deleted once foreign files are moved out of it.
`.<name>.before` is the complete old folder between the two renames; it gets its name back.
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
from imp_data.redaction import redact
from imp_data.storage.object_path import ObjectPath

# Returns whether the build wrote an entry of a folder; every other entry is foreign.
Ours = Callable[[Path], bool]

# Suffixes of the folders beside a folder while it is replaced, in this order.
KINDS = ("partial", "replaced", "before")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
# Errors of file systems that cannot exchange names, and of kernels and sandboxes that forbid it.
_NO_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV}
# Errors for a mount point, and for a folder in a lower layer of overlayfs.
_NO_RENAME = {errno.EBUSY, errno.EINVAL, errno.EXDEV}


def select_all(path: Path) -> bool:
    """Select every entry: the `ours` of a folder without foreign files."""
    return True


def replace_folder(new: Path, folder: Path, last: str, ours: Ours) -> None:
    """Replace an existing folder by a finished one, `.<name>….partial`.

    Keep entries that are not `ours` under their names. `last` is the file that marks the folder as
    complete, for file systems that rename no folder.
    """
    if not folder.is_dir():
        raise UserError(folder, "is a file, but a folder is to be written", "name another path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    complete_replacement(new, folder, ours)
    written = sorted(path.name for path in new.iterdir())
    for path in sorted(folder.iterdir()):
        if not ours(path) and (path.is_symlink() or not path.is_dir()):
            with suppress(OSError):  # then it is moved by rename later
                os.link(path, new / path.name, follow_symlinks=False)
    _copy_access(folder, new)
    replaced = _beside(new, "replaced")
    os.rename(new, replaced)
    if _exchanged(replaced, folder) or _renamed(replaced, folder, _beside(new, "before")):
        _discard_old(replaced, folder, ours)
    else:
        _replace_files(replaced, folder, written, last, ours)


def _copy_access(folder: Path, new: Path) -> None:
    """Give the new folder the owner, group and permissions of the one before."""
    state = folder.stat()
    with suppress(OSError):  # only root may change the owner
        os.chown(new, state.st_uid, state.st_gid)
    shutil.copystat(folder, new)


def complete_replacement(new: Path, folder: Path, ours: Ours) -> None:
    """Complete a replacement that a kill interrupted; `new` is the path that it wrote to."""
    replaced, before = _beside(new, "replaced"), _beside(new, "before")
    if before.is_dir() and not os.path.lexists(folder):
        os.rename(before, folder)
    for left in (replaced, before):
        if left.is_dir() and folder.is_dir():
            _discard_old(left, folder, ours)


def check_not_moved(folder: Path) -> None:
    """Raise UserError if a folder is missing because a run was killed while replacing it."""
    if isinstance(folder, ObjectPath) or os.path.lexists(folder):
        return
    for path, kind in _leftovers(folder):
        if kind == "before":
            raise UserError(
                folder,
                f"is missing: a run was killed while replacing it; the previous one is "
                f"{path.name}, beside it",
                "run the command that writes it again, which restores the previous one first",
            )


def unmoved_foreign_files(folder: Path, ours: Ours) -> list[Path]:
    """Return foreign entries that a killed run left in the replaced folder."""
    if isinstance(folder, ObjectPath):
        return []
    left = (path for path, kind in _leftovers(folder) if kind == "replaced" and folder.is_dir())
    return [
        entry
        for path in left
        for entry in sorted(path.iterdir())
        if not ours(entry) and not os.path.lexists(folder / entry.name)
    ]


def _leftovers(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the folders that runs of any machine left beside a folder, with their suffix."""
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
    """Exchange the names of two folders atomically; return False if that is not supported."""
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
    """Replace the folder by two renames; return False if it cannot be renamed."""
    try:
        os.rename(folder, before)
    except OSError as error:
        if error.errno not in _NO_RENAME:
            raise
        return False
    os.rename(replaced, folder)
    os.rename(before, replaced)
    return True


def _replace_files(new: Path, folder: Path, written: Sequence[str], last: str, ours: Ours) -> None:
    """Replace files one by one; delete the old `last` first, move the new one last."""
    if last:
        delete_local(folder / last)
    for path in sorted(folder.iterdir()):
        if path.name in written and not ours(path):
            _move_foreign(path, folder)
        elif path != new and ours(path) and (path.is_dir() or path.name not in written):
            delete_local(path)
    for name in sorted(written, key=lambda name: name == last):
        _move(new / name, folder / name)
    delete_local(new)


def _move(path: Path, target: Path) -> None:
    """Move a file or folder; copy it first if it is on another file system."""
    try:
        os.replace(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        aside = target.with_name(f".{target.name}.partial")
        delete_local(aside)
        shutil.copytree(path, aside) if path.is_dir() else shutil.copy2(path, aside)
        os.replace(aside, target)


def _discard_old(left: Path, folder: Path, ours: Ours) -> None:
    """Delete our entries of a replaced folder, move foreign ones to `folder`, delete the folder."""
    # A program with the folder open may still write to it.
    while entries := sorted(left.iterdir()):
        for path in entries:
            if ours(path):
                delete_local(path)
            else:
                _move_foreign(path, folder)
    left.rmdir()


def _move_foreign(path: Path, folder: Path) -> None:
    """Move a foreign entry into the new folder, under another name if its own is taken."""
    target = folder / path.name
    if path != target and _same(path, target):
        delete_local(path)
        return
    number = 0
    while os.path.lexists(target):
        number += 1
        target = folder / f"{path.stem}.kept-{number}{path.suffix}"
    try:
        os.rename(path, target)
    except OSError as error:
        problem = f"cannot be moved to the new folder {folder} ({error.strerror})"
        raise UserError(path, problem, "move it there, then run the same command again") from error
    if number:
        notice = f"was {path.name} in the previous folder; another file has that name now"
        print(redact(f"{target}: {notice}"), file=sys.stderr)


def _same(path: Path, target: Path) -> bool:
    """Return whether two paths are the same file or files of equal bytes."""
    if not os.path.lexists(target):
        return False
    if os.path.samestat(path.lstat(), target.lstat()):
        return True
    files = all(one.is_file() and not one.is_symlink() for one in (path, target))
    return files and filecmp.cmp(path, target, shallow=False)


def delete_local(path: Path) -> None:
    """Delete a local file or folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
