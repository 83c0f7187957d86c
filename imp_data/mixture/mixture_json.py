"""A finished mixture held against what its mixture.json states: before its files are read."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ValidationError

from imp_data.errors import UserError
from imp_data.storage.atomic_write import json_text
from imp_data.storage.checked_file import outdate
from imp_data.storage.digests import file_sha256, file_sizes, text_digest
from imp_data.storage.image_paths import leads_outside
from imp_data.storage.object_store import is_file

MANIFEST = "mixture.json"
REMEDY = (
    "look with `imp-data verify` what else is; then build the mixture again (the same command "
    "does), or fetch it again"
)
# One of a thousand shards has some 200 KB.
_MOST_BYTES = 64 << 20


def _inside(name: str) -> str:
    if leads_outside(name):
        raise ValueError(f"{name!r} leads out of the mixture's folder")
    return name


# Fields of mixtures built by the release before this one.
_EARLIER = {"pictures": "images"}
# Fields whose keys are names that people chose.
_NAMED = {"files", "subsets"}


class _File(BaseModel):
    bytes: int
    sha256: str


class _Part(BaseModel):
    source: str
    subsets: dict[str, int]


class _Stated(BaseModel):
    """What is read of every mixture.json: whoever wrote it can give it a digest that fits."""

    name: str
    rows: int
    digest: str
    parts: list[_Part]
    files: dict[Annotated[str, AfterValidator(_inside)], _File]


def root_digest(manifest: dict[str, Any]) -> str:
    """sha256 of what mixture.json says, itself apart; through `files` it covers every byte."""
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    return text_digest(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS))


def manifest_or_problem(folder: Path, to_the_byte: bool = False) -> dict[str, Any] | str:
    """What mixture.json says, or what is wrong with it. Raises UserError if there is none.

    `to_the_byte`: also the blanks are to be as they were written, which no digest covers.
    """
    path = folder / MANIFEST
    if not is_file(path):
        raise UserError(folder, f"holds no {MANIFEST}", "name the folder of a mixture")
    try:
        if path.stat().st_size > _MOST_BYTES:
            return f"is damaged: it has more than {_MOST_BYTES:,} bytes"
        text = path.read_bytes()
        manifest: dict[str, Any] = orjson.loads(text)
        _Stated.model_validate(manifest)
        whole = root_digest(manifest) == manifest["digest"]
        if to_the_byte:
            whole = whole and json_text(manifest).encode() == text
    except (orjson.JSONDecodeError, ValidationError, TypeError):
        return "is damaged: it cannot be read"
    if not whole:
        return "is damaged: its digest is not that of its content"
    present: dict[str, Any] = _with_present_names(manifest)
    return present


def _with_present_names(value: Any) -> Any:
    """mixture.json as this release names its fields; names of subsets and files stay."""
    if isinstance(value, list):
        return [_with_present_names(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        _EARLIER.get(name, name): one if name in _NAMED else _with_present_names(one)
        for name, one in value.items()
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """What mixture.json says. Raises UserError if there is none, or it is not as it was written."""
    found = manifest_or_problem(folder)
    if isinstance(found, str):
        raise _damaged(folder / MANIFEST, found)
    return found


def check_files(folder: Path, names: Iterable[str] | None = None) -> dict[str, Any]:
    """What mixture.json says, once these files (all of them, if none are named) are as it states.

    Raises UserError for the first that is not.
    """
    manifest = read_manifest(folder)
    for name in manifest["files"] if names is None else names:
        check_file(folder / name, manifest["files"][name])
    return manifest


def check_file(path: Path, stated: Mapping[str, Any]) -> None:
    """Raise UserError if a file of a mixture is missing, or not as mixture.json states it."""
    size = file_sizes(path).get("")
    if size is None:
        raise UserError(path, "is missing", REMEDY)
    if size != stated["bytes"]:
        raise _damaged(path, f"has {size:,} bytes instead of {stated['bytes']:,}")
    if file_sha256(path) != stated["sha256"]:
        raise _damaged(path, "is damaged: its sha256 is not the one that mixture.json states")


def _damaged(path: Path, problem: str) -> UserError:
    """The error; the stage that wrote the file finds a change, and builds the mixture again."""
    # A new time of mixture.json itself tells readers that they read another mixture.
    outdate(path.with_name("state.json") if path.name == MANIFEST else path)
    return UserError(path, problem, REMEDY)
