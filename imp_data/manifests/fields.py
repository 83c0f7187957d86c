"""Field types that several manifests share: names, numbers, and paths that stay inside a folder."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

_MAX_NAME_CHARACTERS = 100
_MAX_COMPONENT_BYTES = 255
_MAX_PATH_BYTES = 1024
_INT64_LIMIT = 2**63

Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        max_length=_MAX_NAME_CHARACTERS,
        description="used in asset keys and file names",
    ),
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=_INT64_LIMIT)]
Positive = Annotated[int, Field(gt=0, lt=_INT64_LIMIT)]

# For the JSON Schema, whose regular expressions support neither NFKC nor byte lengths; the models
# reject what it accepts in excess.
_INSIDE = r"(?!/)(?!~(/|$))(?![A-Za-z]:)(?!(.|\n)*(^|/)\.\.(/|$))(?!(.|\n)*[\\\u0000-\u001f\u007f])"
_CONTROL = re.compile("[\0-\x1f\x7f]")
_DRIVE = re.compile("[A-Za-z]:")
_SLASH_LOOKALIKES = dict.fromkeys(map(ord, "\u2044\u2215\u2216\u29f8\u29f9\\"), "/")


def _normalize(path: str) -> str:
    """Return the path without `./`, repeated slashes and a trailing slash."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _check_below(path: str) -> str:
    if not _normalize(path):
        raise ValueError(f"{path!r} must be a relative path without .., of a file or folder")
    return _check_inside(path)


def _check_inside(path: str) -> str:
    if why := _find_escape(path):
        raise ValueError(
            f"{path[:_MAX_NAME_CHARACTERS]!r} must be a relative path without ..; it {why}, but is "
            "relative to the folder or archive that the field's description names"
        )
    return _normalize(path)


def _find_escape(path: str) -> str:
    """Return why a path may leave its base folder, or cannot be a file's path; "" if it is safe.

    Characters that look like dots or slashes (U+2025, U+FF0F) count as such.
    """
    if _CONTROL.search(path):
        return "contains a control character"
    if "\\" in path:
        return "contains a backslash, where / separates folders"
    seen = unicodedata.normalize("NFKC", path).translate(_SLASH_LOOKALIKES)
    if seen.startswith("/"):
        return "begins with /"
    if path.split("/")[0] == "~":
        return "begins with ~"
    if _DRIVE.match(seen):
        return "begins with a drive"
    if any(step.strip() == ".." for step in seen.split("/")):
        return "contains .."
    if len(path.encode()) > _MAX_PATH_BYTES:
        return f"has more than {_MAX_PATH_BYTES:,} bytes"
    if any(len(step.encode()) > _MAX_COMPONENT_BYTES for step in path.split("/")):
        return f"has a name of more than {_MAX_COMPONENT_BYTES} bytes"
    return ""


def _check_unnormalized(path: str) -> str:
    _check_below(path)
    return path


def _check_prefix(path: str) -> str:
    return _check_inside(path) + ("/" if path.endswith("/") and _normalize(path) else "")


# A file or folder below a base folder.
RelativePath = Annotated[
    str,
    AfterValidator(_check_below),
    Field(json_schema_extra={"pattern": rf"^{_INSIDE}(?!(\.?/)*\.?$).+$"}),
]
# A glob of archive members, whose names are compared without normalization.
MemberGlob = Annotated[
    str,
    AfterValidator(_check_unnormalized),
    Field(json_schema_extra={"pattern": rf"^{_INSIDE}(?!(\.?/)*\.?$).+$"}),
]
# A folder below a base folder, or the base folder itself ("").
RelativeFolder = Annotated[
    str, AfterValidator(_check_inside), Field(json_schema_extra={"pattern": rf"^{_INSIDE}.*$"})
]
# The beginning of relative paths.
PathPrefix = Annotated[
    str, AfterValidator(_check_prefix), Field(json_schema_extra={"pattern": rf"^{_INSIDE}.*$"})
]
