"""The base class of all manifests, and loading from YAML with errors that name line and column."""

import json
import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from imp_data.errors import UserError
from imp_data.manifests.earlier_names import rename_earlier_fields
from imp_data.manifests.field_errors import format_problems
from imp_data.manifests.yaml_document import parse_document
from imp_data.manifests.yaml_text import Position, read_manifest_text
from imp_data.storage.digests import text_digest


class StrictModel(BaseModel):
    """Base model of manifests: unknown fields are errors, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=StrictModel)


def load_manifest(path: Path, model: type[Model]) -> Model:
    """Read one YAML manifest.

    Raise UserError naming the file and, for each problem, line, column, field and the accepted
    values.
    """
    _check_unambiguous(path)
    root = rename_earlier_fields(path, parse_document(path, read_manifest_text(path)))
    try:
        # A strict model accepts a list for a tuple only in JSON. Strict, because `quota: yes` is
        # not a number; the JSON Schema rejects it too.
        manifest = model.model_validate_json(json.dumps(root.to_python()), strict=True)
    except ValidationError as error:
        raise UserError(path, format_problems(error, root), "correct the fields it names") from None
    name = getattr(manifest, "name", None)
    if name is not None and name != _manifest_name(path):
        problem = f"{root.locate(('name',))[0]}, name: is {name}, unlike the file's name"
        raise UserError(path, problem, f"rename the file to {name}.yaml, or correct `name`")
    return manifest


def model_digest(*models: BaseModel) -> str:
    """Return the digest of the values in manifests or parts of them.

    Comments and the order of fields do not count.
    """
    return text_digest(*(model.model_dump_json() for model in models))


def field_position(path: Path, *location: str | int) -> Position:
    """Return the position of the field at `location`, such as "folders", 0, "inside".

    For a field that is left out, return the position of the innermost enclosing field.
    """
    root = rename_earlier_fields(path, parse_document(path, read_manifest_text(path)))
    return root.locate(location)[0]


def _manifest_name(path: Path) -> str:
    """Return the name that the manifest in this file must have."""
    return path.stem.replace("-", "_")


def _check_unambiguous(path: Path) -> None:
    """Raise UserError if the file does not exist, or if a sibling has the same manifest name.

    `a-b.yaml` and `a_b.yaml` have one name; `a.yaml` and `A.yaml` are one file on some disks.
    """
    siblings = [p for p in path.parent.glob("*") if p.suffix in (".yaml", ".yml")]
    if path not in siblings and not os.path.lexists(path):
        existing = ", ".join(sorted(p.stem for p in siblings))
        remedy = f"write it, or name one of {existing}" if existing else "write it"
        raise UserError(path, "there is no such manifest", remedy)
    name = _manifest_name(path)
    for sibling in sorted(siblings):
        same_name = _manifest_name(sibling).casefold() == name.casefold()
        if same_name and not _is_same_file(sibling, path):
            problem = f"{sibling.name} beside it has the same name, {name}"
            raise UserError(path, problem, "rename one of the two, or move it away")


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # a dangling link
        return one == other
