"""Read mixture.json, and check a mixture's files against it before they are read."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ValidationError

from imp_data.errors import UserError
from imp_data.storage.atomic_write import json_text
from imp_data.storage.checked_file import invalidate
from imp_data.storage.digests import file_sha256, file_sizes, text_digest
from imp_data.storage.image_paths import leads_outside
from imp_data.storage.object_store import is_file

MANIFEST = "mixture.json"
REMEDY = (
    "find all damage with `imp-data verify`; then build the mixture again (the same command "
    "does), or fetch it again"
)
# A mixture.json of a thousand shards has some 200 KB.
_MAX_BYTES = 64 << 20


def _inside(name: str) -> str:
    if leads_outside(name):
        raise ValueError(f"{name!r} is outside the mixture's folder")
    return name


# Fields that mixtures of an earlier release have under another name.
_EARLIER_NAMES = {"pictures": "images", "altered_pictures": "altered_images"}
# Fields whose keys are names of files and subsets, which stay as they are.
_KEYED_BY_NAME = {"files", "subsets"}


class _File(BaseModel):
    bytes: int
    sha256: str


class _Part(BaseModel):
    source: str
    subsets: dict[str, int]


class _Stated(BaseModel):
    """The fields that readers rely on: a fitting digest alone does not prove the form."""

    name: str
    rows: int
    digest: str
    parts: list[_Part]
    files: dict[Annotated[str, AfterValidator(_inside)], _File]


def manifest_digest(manifest: dict[str, Any]) -> str:
    """Return the sha256 of mixture.json without `digest`; through `files` it covers every byte."""
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    return text_digest(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS))


def manifest_or_problem(folder: Path, to_the_byte: bool = False) -> dict[str, Any] | str:
    """Return the content of mixture.json, or the problem. Raise UserError if there is none.

    `to_the_byte` also compares white space, which no digest covers.
    """
    path = folder / MANIFEST
    if not is_file(path):
        raise UserError(folder, f"holds no {MANIFEST}", "name the folder of a mixture")
    try:
        if path.stat().st_size > _MAX_BYTES:
            return f"is damaged: it has more than {_MAX_BYTES:,} bytes"
        text = path.read_bytes()
        manifest: dict[str, Any] = orjson.loads(text)
        _Stated.model_validate(manifest)
        is_whole = manifest_digest(manifest) == manifest["digest"]
        if to_the_byte:
            is_whole = is_whole and json_text(manifest).encode() == text
    except (orjson.JSONDecodeError, ValidationError, TypeError):
        return "is damaged: it cannot be read"
    if not is_whole:
        return "is damaged: its digest is not that of its content"
    present: dict[str, Any] = _with_present_names(manifest)
    return present


def _with_present_names(value: Any) -> Any:
    """Return mixture.json with the field names of this release."""
    if isinstance(value, list):
        return [_with_present_names(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        _EARLIER_NAMES.get(name, name): one if name in _KEYED_BY_NAME else _with_present_names(one)
        for name, one in value.items()
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the content of mixture.json. Raise UserError if it is missing or damaged."""
    found = manifest_or_problem(folder)
    if isinstance(found, str):
        raise _damaged(folder / MANIFEST, found)
    return found


def check_files(folder: Path, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the content of mixture.json after checking these files, or all files, against it.

    Raise UserError for the first file that differs.
    """
    manifest = read_manifest(folder)
    for name in manifest["files"] if names is None else names:
        check_file(folder / name, manifest["files"][name])
    return manifest


def check_file(path: Path, stated: Mapping[str, Any]) -> None:
    """Raise UserError if a file of a mixture is missing or differs from mixture.json."""
    size = file_sizes(path).get("")
    if size is None:
        raise UserError(path, "is missing", REMEDY)
    if size != stated["bytes"]:
        raise _damaged(path, f"has {size:,} bytes instead of {stated['bytes']:,}")
    if file_sha256(path) != stated["sha256"]:
        raise _damaged(path, "is damaged: its sha256 is not the one that mixture.json states")


def _damaged(path: Path, problem: str) -> UserError:
    """Return the error; mark the file as changed, so that its stage builds the mixture again."""
    # Readers take a new time of mixture.json itself for another mixture.
    invalidate(path.with_name("state.json") if path.name == MANIFEST else path)
    return UserError(path, problem, REMEDY)
