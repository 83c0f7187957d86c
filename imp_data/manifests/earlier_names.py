"""Names that manifests had in the release before this one: still read, with a warning."""

import sys
from pathlib import Path

from imp_data.errors import UserError
from imp_data.manifests.yaml_document import Field, Node
from imp_data.redaction import redacted

# Where a field stands (* is any element of a list), and its present name.
_FIELDS = {
    ("pictures",): "images",
    ("picture_paths",): "image_paths",
    ("decontaminate", "*", "altered_pictures"): "altered_images",
}
_DIRECTORIES = {"images": "pictures"}
_warned: set[str] = set()


def with_present_names(path: Path, root: Node) -> Node:
    """The document with each earlier field name replaced, and a warning on stderr for each.

    Raises UserError where a field is written under both names.
    """
    for (*around, earlier), present in _FIELDS.items():
        root = _renamed(path, root, tuple(around), earlier, present)
    return root


def kind_dir(manifests_dir: Path, kind: str) -> Path:
    """The directory of all manifests of one kind, "sources" or "images" for instance.

    Of the earlier name only if there is none of the present name.
    """
    present = manifests_dir / kind
    earlier = manifests_dir / _DIRECTORIES.get(kind, kind)
    if earlier == present or present.is_dir() or not earlier.is_dir():
        return present
    _warn(f"{earlier}: this directory is now called {kind}; rename it")
    return earlier


def _renamed(path: Path, node: Node, around: tuple[str, ...], earlier: str, present: str) -> Node:
    content = node.content
    if around and around[0] == "*" and isinstance(content, list):
        below = [_renamed(path, each, around[1:], earlier, present) for each in content]
        return node._replace(content=below)
    if not isinstance(content, dict):
        return node
    if around:
        field = content.get(around[0])
        if field is None:
            return node
        value = _renamed(path, field.value, around[1:], earlier, present)
        return node._replace(content={**content, around[0]: Field(field.spot, value)})
    if earlier not in content:
        return node
    spot = content[earlier].spot
    if present in content:
        problem = f"{spot}, {earlier}: is the earlier name of `{present}`, which is written too"
        raise UserError(path, problem, f"keep `{present}`")
    _warn(f"{path}: {spot}, {earlier}: this field is now called `{present}`; rename it")
    return node._replace(
        content={present if name == earlier else name: one for name, one in content.items()}
    )


def _warn(text: str) -> None:
    """Print a line on stderr, once a process."""
    if text not in _warned:
        _warned.add(text)
        print(redacted(text), file=sys.stderr)
