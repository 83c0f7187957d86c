"""Name the decompressed copies of a source's gzip and zstd files of records.

Records are addressed by bytes, so the raw stage decompresses such a file as a whole:
`data/a.jsonl.gz` to `.decompressed/gz/data/a.jsonl` in the same raw folder. Everything else names
the file as upstream does.
"""

from pathlib import Path, PurePosixPath

from imp_data.errors import UserError
from imp_data.storage.object_store import exists

DECOMPRESSED = ".decompressed"
COMPRESSED_ENDINGS = (".gz", ".zst")


def is_compressed(name: str) -> bool:
    """Return whether a file of this name is decompressed before its records are read."""
    return name.lower().endswith(COMPRESSED_ENDINGS)


def is_decompressed(name: str) -> bool:
    """Return whether a path below a raw folder is that of a decompressed copy."""
    return name.startswith(f"{DECOMPRESSED}/")


def decompressed_path(folder: Path, name: str) -> Path:
    """Return where the decompressed copy of `folder / name` is."""
    inner, _, ending = name.rpartition(".")
    return folder / DECOMPRESSED / ending / inner


def upstream_name(folder: Path, path: Path) -> str:
    """Return the path below `folder` of a file, or of the file that it is a copy of."""
    name = path.relative_to(folder).as_posix()
    if not is_decompressed(name):
        return name
    _, ending, inner = name.split("/", 2)
    return f"{inner}.{ending}"


def readable_path(folder: Path, path: Path) -> Path:
    """Return the file that holds the text of a file of records: itself, or its decompressed copy.

    Raise UserError if there is no copy yet.
    """
    if not is_compressed(path.name):
        return path
    copy = decompressed_path(folder, path.relative_to(folder).as_posix())
    if not exists(copy):
        problem = f"is not decompressed: {copy} does not exist"
        raise UserError(path, problem, f"materialize raw/{folder.name} again")
    return copy


def embedded_file(raw: Path, name: str) -> Path:
    """Return the file in which an image stands whose path begins with `name`, `<source>/<file>`."""
    source, _, file = PurePosixPath(name).as_posix().partition("/")
    return decompressed_path(raw / source, file) if is_compressed(file) else raw / name
