"""Field and directory names of the previous release: still read, with a warning."""

import sys
from pathlib import Path

from imp_data.errors import UserError
from imp_data.manifests.yaml_document import Entry, Node
from imp_data.redaction import redact

# The location of a field (* is any element of a list), and its present name.
_FIELDS = {
    ("pictures",): "images",
    ("picture_paths",): "image_paths",
    ("decontaminate", "*", "altered_pictures"): "altered_images",
}
_DIRECTORIES = {"images": "pictures"}
_warned: set[str] = set()


def rename_earlier_fields(path: Path, root: Node) -> Node:
    """Return the document with earlier field names replaced; print a warning for each on stderr.

    Raise UserError if a field occurs under both names.
    """
    for (*around, earlier), present in _FIELDS.items():
        root = _rename(path, root, tuple(around), earlier, present)
    return root


def kind_dir(manifests_dir: Path, kind: str) -> Path:
    """Return the directory of all manifests of one kind, for instance "sources" or "images".

    Return the directory with the earlier name only if none with the present name exists.
    """
    present = manifests_dir / kind
    earlier = manifests_dir / _DIRECTORIES.get(kind, kind)
    if earlier == present or present.is_dir() or not earlier.is_dir():
        return present
    _warn(f"{earlier}: this directory is now called {kind}; rename it")
    return earlier


def _rename(path: Path, node: Node, around: tuple[str, ...], earlier: str, present: str) -> Node:
    content = node.content
    if around and around[0] == "*" and isinstance(content, list):
        below = [_rename(path, each, around[1:], earlier, present) for each in content]
        return node._replace(content=below)
    if not isinstance(content, dict):
        return node
    if around:
        field = content.get(around[0])
        if field is None:
            return node
        value = _rename(path, field.value, around[1:], earlier, present)
        return node._replace(content={**content, around[0]: Entry(field.position, value)})
    if earlier not in content:
        return node
    position = content[earlier].position
    if present in content:
        problem = f"{position}, {earlier}: is the earlier name of `{present}`, which is present too"
        raise UserError(path, problem, f"keep `{present}`")
    _warn(f"{path}: {position}, {earlier}: this field is now called `{present}`; rename it")
    return node._replace(
        content={present if name == earlier else name: one for name, one in content.items()}
    )


def _warn(text: str) -> None:
    """Print a line on stderr, once per process."""
    if text not in _warned:
        _warned.add(text)
        print(redact(text), file=sys.stderr)
