"""Digests of files, folders, texts and packages."""

import hashlib
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import xxhash

from imp_data.errors import UserError
from imp_data.storage.folders import is_sidecar, list_files
from imp_data.storage.object_path import ObjectPath
from imp_data.storage.object_store import list_objects, object_state
from imp_data.storage.prefetch import map_ahead
from imp_data.storage.range_reader import open_file


def file_sha256(path: Path) -> str:
    """Return the hex sha256 of a file, read in blocks."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def text_digest(*parts: str | bytes) -> str:
    """Return sha256 over parts, each preceded by its length to keep lists of parts distinct."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "little") + data)
    return whole.hexdigest()


def package_digest() -> str:
    """Return a digest of all source files of imp_data; equal for equal releases."""
    package = Path(__file__).parents[1]
    files = sorted(f for f in package.rglob("*") if f.suffix in {".py", ".j2"})
    return text_digest(*(f.read_bytes() for f in files))[:16]


def tree_digest(path: Path) -> str:
    """Return the digest of a file, or of a folder's file names and contents."""
    found = file_states(path)
    if list(found) == [""]:
        return file_sha256(path)
    if not found and (isinstance(path, ObjectPath) or not path.is_dir()):
        raise UserError(path, "does not exist", "check whether its manifest names the right file")
    files = [path / name for name in found]
    names = [name.encode("utf-8", "surrogateescape") for name in found]
    digests: Iterator[str] = map(file_sha256, files)
    if isinstance(path, ObjectPath):
        digests = map_ahead(file_sha256, files)
    return text_digest(*(part for pair in zip(names, digests, strict=True) for part in pair))


def file_sizes(folder: Path) -> dict[str, int]:
    """Return the size of every file below a folder by relative name; of a file itself by ""."""
    return {name: size for name, (size, _) in file_states(folder).items()}


def listing_digest(folder: Path) -> str:
    """Return a digest of the names, sizes and versions of files below a folder; open none.

    Ignore sidecars, so that a desktop that displays the folder does not change the digest.
    """
    lines = (
        f"{name} {size} {change}"
        for name, (size, change) in file_states(folder).items()
        if name and not is_sidecar(name)
    )
    return text_digest(*(line.encode("utf-8", "surrogateescape") for line in lines))


def file_states(path: Path) -> dict[str, tuple[int, int | str]]:
    """Return size and version of a file ("") or of all files below a folder, by relative name.

    The version is the modification time, or a store's checksum. Follow symbolic links.
    """
    if isinstance(path, ObjectPath):
        state = object_state(path)
        if state is None or state.change:
            return {"": state} if state else {}
        return dict(list_objects(path))
    if path.is_dir():
        return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in list_files(path)}
    if not path.is_file():
        return {}
    stat = path.stat()
    return {"": (stat.st_size, stat.st_mtime_ns)}


def file_version(path: Path) -> tuple[int, int | str] | None:
    """Return size and version of a file, or None if it does not exist; see `file_states`.

    The inode is no part of it, since some network file systems renumber inodes.
    """
    return file_states(path).get("")


def library_versions(*names: str) -> dict[str, str]:
    """Return installed versions of libraries that affect a stage's bytes."""
    return {name: version(name) for name in names}


def xxh3_keys(seed: int, ids: Sequence[str]) -> list[int]:
    """Return xxh3(seed, id) of each id, the key for sampling and shuffling."""
    digest = xxhash.xxh3_64_intdigest
    return [digest(text.encode(), seed) for text in ids]
