"""What all manifests have in common: strict models, and YAML whose errors name their place."""

import json
import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from imp_data.errors import UserError
from imp_data.manifests.earlier_names import with_present_names
from imp_data.manifests.field_errors import problems
from imp_data.manifests.yaml_document import document
from imp_data.manifests.yaml_text import Spot, manifest_text
from imp_data.storage.digests import text_digest


class Strict(BaseModel):
    """A word that no field knows is an error; a manifest never changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=Strict)


def load(path: Path, model: type[Model]) -> Model:
    """Read one YAML manifest.

    Raises UserError naming the file, and of each problem its line, column, field, and what may
    stand there.
    """
    _check_is_the_one(path)
    root = with_present_names(path, document(path, manifest_text(path)))
    try:
        # By way of JSON, because only there can a strict model read a list as a tuple; and strict,
        # because `quota: yes` is no number, as the JSON Schema says too.
        manifest = model.model_validate_json(json.dumps(root.bare()), strict=True)
    except ValidationError as error:
        raise UserError(path, problems(error, root), "correct the fields it names") from None
    name = getattr(manifest, "name", None)
    if name is not None and name != _called(path):
        problem = f"{root.at(('name',))[0]}, name: its name is {name}"
        raise UserError(path, problem, f"call the file {name}.yaml, or correct `name`")
    return manifest


def model_digest(*models: BaseModel) -> str:
    """Digest of what manifests, or parts of them, say; comments and order of fields apart."""
    return text_digest(*(model.model_dump_json() for model in models))


def spot_of(path: Path, *location: str | int) -> Spot:
    """Where a manifest has the field at `location`, such as "folders", 0, "inside".

    Of a field that is left out: the place of the innermost field around it.
    """
    return with_present_names(path, document(path, manifest_text(path))).at(location)[0]


def _called(path: Path) -> str:
    """The name that a manifest in this file has."""
    return path.stem.replace("-", "_")


def _check_is_the_one(path: Path) -> None:
    """Raise UserError if there is no such file, or another of the same name beside it.

    `a-b.yaml` and `a_b.yaml` have one name; `a.yaml` and `A.yaml` are one file on some disks.
    """
    others = [p for p in path.parent.glob("*") if p.suffix in (".yaml", ".yml")]
    if path not in others and not os.path.lexists(path):
        there = ", ".join(sorted(p.stem for p in others)) or "(none there)"
        raise UserError(path, "there is no such manifest", f"write it, or name one of {there}")
    for other in sorted(others):
        if _called(other).casefold() == _called(path).casefold() and not _same(other, path):
            problem = f"{other.name} beside it has the same name, {_called(path)}"
            raise UserError(path, problem, "give one of the two another name, or move it away")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them leads nowhere
        return one == other
