"""Match files against the globs of a manifest."""

import os
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from fsspec.utils import glob_translate

from imp_data.storage.decompressed import decompressed_path, is_compressed, is_decompressed
from imp_data.storage.digests import file_sha256, file_states
from imp_data.storage.folders import check_inside, is_sidecar, real_folders
from imp_data.storage.object_path import ObjectPath

_WILD = frozenset("*?[")


def matching_files(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder that match a glob, sorted as paths are.

    `*` matches any characters of a name, `?` one, `[ab]` one of these, `**` zero or more folders.
    No glob matches a hidden file, a desktop's sidecar or a decompressed copy. Raise UserError if a
    link leads out of the folder that is neither directly in it nor named by the glob.
    """
    if isinstance(folder, ObjectPath) or "**" in pattern:
        named = re.compile(glob_translate(pattern))
        found = [folder / name for name in file_states(folder) if named.match(name)]
    else:
        found = [path for path in folder.glob(pattern) if path.is_file()]
    found = [path for path in found if _is_shown(path, folder)]
    if not isinstance(folder, ObjectPath):
        _refuse_ways_out(folder, pattern, found)
    return sorted(found, key=lambda path: path.parts)


def _refuse_ways_out(folder: Path, pattern: str, found: Sequence[Path]) -> None:
    named = folder.joinpath(*takewhile(lambda step: not _WILD & set(step), pattern.split("/")))
    for path in found:
        top = folder / path.relative_to(folder).parts[0]
        places = real_folders((folder.parent, folder, named, top))
        check_inside(path, os.path.realpath(path), places)


def first_altered(
    folder: Path, patterns: Sequence[str], sha256_of: Mapping[str, str]
) -> Path | None:
    """Return the first file that matches a pattern and differs from its known sha256.

    The decompressed copy of such a file counts as well. `sha256_of` maps relative paths to digests.
    Skip an object store: its checksums, which a stamp holds, show every change.
    """
    if isinstance(folder, ObjectPath):
        return None
    paths = [path for pattern in patterns for path in matching_files(folder, pattern)]
    names = [path.relative_to(folder).as_posix() for path in paths]
    paths += [decompressed_path(folder, name) for name in names if is_compressed(name)]
    known = ((path, sha256_of.get(path.relative_to(folder).as_posix())) for path in paths)
    return next((path for path, sha256 in known if file_sha256(path) != sha256), None)


def matches_glob(path: str, pattern: str) -> bool:
    """Return whether a glob matches a path, hidden or not."""
    return re.match(glob_translate(pattern), path) is not None


def _is_shown(path: Path, folder: Path) -> bool:
    name = path.relative_to(folder).as_posix()
    return not (path.name.startswith(".") or is_decompressed(name) or is_sidecar(name))
