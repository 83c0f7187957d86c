"""What all manifests have in common: strict models, and YAML whose errors name their line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from imp_data.errors import UserError
from imp_data.store import text_digest

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="as in asset keys and files")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


_OUTSIDE = r"(?!/)(?!~(/|$))(?!.*(^|/)\.\.(/|$))"


def _tidied(path: str) -> str:
    """The same place without `./`, doubled slashes and a slash at the end."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _stays_below(path: str) -> str:
    if not _tidied(path):
        raise ValueError(f"{path!r} must be a relative path without ..")
    return _below_or_same(path)


def _below_or_same(path: str) -> str:
    if path.startswith("/") or path.split("/")[0] == "~" or ".." in path.split("/"):
        raise ValueError(
            f"{path!r} must be a relative path without ..; it counts from the folder or archive "
            "that the field's description names, so neither / nor ~ begins it"
        )
    return _tidied(path)


def _prefix(path: str) -> str:
    return _below_or_same(path) + ("/" if path.endswith("/") and _tidied(path) else "")


# A file or folder below another; the same place itself; and a beginning of paths.
RelativePath = Annotated[
    str,
    AfterValidator(_stays_below),
    Field(json_schema_extra={"pattern": rf"^{_OUTSIDE}(?!(\.?/)*\.?$).+$"}),
]
RelativeFolder = Annotated[
    str, AfterValidator(_below_or_same), Field(json_schema_extra={"pattern": rf"^{_OUTSIDE}.*$"})
]
PathPrefix = Annotated[
    str, AfterValidator(_prefix), Field(json_schema_extra={"pattern": rf"^{_OUTSIDE}.*$"})
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
    content, root = _parsed(path, text)
    try:
        # By way of JSON, because only there can a strict model read a list as a tuple; and strict,
        # because `quota: yes` is no number, as the JSON Schema says too.
        manifest = model.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        raise UserError(path, _problems(error, root), "mend the fields it names") from None
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"cannot be read as fields and values: {error}"
        raise UserError(path, problem, "use text as keys, and no anchor inside itself") from None
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


def line_of(path: Path, *location: str | int) -> int:
    """The line of a manifest that holds the field at `location`, such as "folders", 0, "inside".

    Of a field that is left out: the line of the innermost field around it.
    """
    return _line(_parsed(path, path.read_text(encoding="utf-8"))[1], location)


def _parsed(path: Path, text: str) -> tuple[Any, yaml.Node | None]:
    """What a YAML file says, and the node that knows the place of each field.

    Raises UserError if it is no YAML, or where one mapping has a key twice, of which YAML's own
    loader would keep the last without a word.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        twice = [] if root is None else list(_twice(root, loader, set()))
        if twice:
            raise UserError(path, "; ".join(twice), "keep one of the two, or join them")
        return (None if root is None else loader.construct_document(root)), root
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(path, f"is not YAML: {error}", "mend the line it names") from None
    finally:
        loader.dispose()


def _twice(node: yaml.Node, loader: yaml.SafeLoader, seen: set[int]) -> Iterator[str]:
    """A sentence for each key that stands twice in one mapping; `<<` may, as merges add up."""
    if id(node) in seen:  # an anchor's content is looked at once
        return
    seen.add(id(node))
    lines: dict[str, int] = {}
    for item in node.value if isinstance(node, yaml.CollectionNode) else ():
        key, value = item if isinstance(item, tuple) else (None, item)
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            # As JSON names it: there 1 and "1" are one key.
            name = json.dumps({loader.construct_object(key): 0}, default=str)
            line = key.start_mark.line + 1
            if name in lines:
                yield f"line {line}, {key.value}: stands in line {lines[name]} already"
            lines.setdefault(name, line)
        yield from _twice(value, loader, seen)


def _problems(error: ValidationError, root: yaml.Node | None) -> str:
    """`line 7, files.0.bytes: Input should be …` for each; a field left out: its parent's line."""

    def place(location: tuple[Any, ...]) -> str:
        name = ".".join(str(step) for step in location) or "(whole file)"
        return f"line {_line(root, location)}, {name}" if root else name

    return "; ".join(f"{place(e['loc'])}: {e['msg']}" for e in error.errors())


def _line(node: yaml.Node | None, location: tuple[Any, ...]) -> int:
    """The line of the field at `location`, or of the innermost one there that is written."""
    line = node.start_mark.line + 1 if node else 1
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
