"""What all manifests have in common: strict models, and YAML whose errors name their line."""

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from imp_data.errors import UserError
from imp_data.store import text_digest

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="as in asset keys and files")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


def _stays_below(path: str) -> str:
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{path!r} must be a relative path without ..")
    return path


RelativePath = Annotated[
    str,
    AfterValidator(_stays_below),
    Field(json_schema_extra={"pattern": r"^(?!/)(?!.*(^|/)\.\.(/|$)).+$"}),
]


class Strict(BaseModel):
    """A word that no field knows is an error; a manifest never changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=Strict)


def load(path: Path, model: type[Model]) -> Model:
    """Read one YAML manifest. Raises UserError naming file, field, and what may stand there."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(path, "there is no such manifest", _neighbours(path)) from None
    except UnicodeDecodeError as error:
        raise UserError(path, f"is not UTF-8: {error}", "save it as UTF-8") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(path, f"is not YAML: {error}", "mend the line it names") from None
    try:
        # By way of JSON, because only there can a strict model read a list as a tuple; and strict,
        # because `quota: yes` is no number, as the JSON Schema says too.
        manifest = model.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        raise UserError(path, _problems(error, text), "mend the fields it names") from None
    name = getattr(manifest, "name", None)
    if name is not None and name != path.stem.replace("-", "_"):
        raise UserError(path, f"its name is {name}", f"call the file {name}.yaml or mend `name`")
    return manifest


def model_digest(*models: BaseModel) -> str:
    """Digest of what manifests, or parts of them, say; comments and order of fields apart."""
    return text_digest(*(model.model_dump_json() for model in models))


def _neighbours(path: Path) -> str:
    there = sorted(p.stem for p in path.parent.glob("*.yaml"))
    return f"write it, or name one of {', '.join(there) or '(none there)'}"


def _problems(error: ValidationError, text: str) -> str:
    """`line 7, files.0.bytes: Input should be …` for each; a field left out: its parent's line."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)

    def place(location: tuple[Any, ...]) -> str:
        name = ".".join(str(step) for step in location) or "(whole file)"
        return f"line {_line(root, location)}, {name}" if root else name

    return "; ".join(f"{place(e['loc'])}: {e['msg']}" for e in error.errors())


def _line(node: yaml.Node, location: tuple[Any, ...]) -> int:
    """The line of the field at `location`, or of the innermost one there that is written."""
    line = node.start_mark.line + 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == step]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            found = [(value, value) for value in node.value[step : step + 1]]
        else:
            found = []
        if not found:
            break
        line, node = found[-1][0].start_mark.line + 1, found[-1][1]
    return line
