"""Types of fields that several manifests have: names, numbers, and paths that lead nowhere else."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

_MOST_NAME = 100
_MOST_STEP_BYTES = 255
_MOST_PATH_BYTES = 1024
_BEYOND = 2**63

Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        max_length=_MOST_NAME,
        description="as in asset keys and files",
    ),
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=_BEYOND)]
Positive = Annotated[int, Field(gt=0, lt=_BEYOND)]

# For the JSON Schema, whose expressions know neither NFKC nor bytes: what it lets pass in excess is
# refused by the models.
_INSIDE = r"(?!/)(?!~(/|$))(?![A-Za-z]:)(?!(.|\n)*(^|/)\.\.(/|$))(?!(.|\n)*[\\\u0000-\u001f\u007f])"
_CONTROL = re.compile("[\0-\x1f\x7f]")
_DRIVE = re.compile("[A-Za-z]:")
_LIKE_A_SLASH = dict.fromkeys(map(ord, "\u2044\u2215\u2216\u29f8\u29f9\\"), "/")


def _tidied(path: str) -> str:
    """The same place without `./`, doubled slashes and a slash at the end."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _below(path: str) -> str:
    if not _tidied(path):
        raise ValueError(f"{path!r} must be a relative path without .., of a file or folder")
    return _below_or_same(path)


def _below_or_same(path: str) -> str:
    if why := _leads_elsewhere(path):
        raise ValueError(
            f"{path[:_MOST_NAME]!r} must be a relative path without ..; it {why}, and counts from "
            "the folder or archive that the field's description names"
        )
    return _tidied(path)


def _leads_elsewhere(path: str) -> str:
    """Why a path may lead out of the folder that it counts from, or can be none's; "" if neither.

    Characters that look like dots or slashes (U+2025, U+FF0F) are taken for these, as people do.
    """
    if _CONTROL.search(path):
        return "holds a control character"
    if "\\" in path:
        return "holds a backslash, where / parts folders"
    seen = unicodedata.normalize("NFKC", path).translate(_LIKE_A_SLASH)
    if seen.startswith("/"):
        return "begins with /"
    if path.split("/")[0] == "~":
        return "begins with ~"
    if _DRIVE.match(seen):
        return "begins with a drive"
    if any(step.strip() == ".." for step in seen.split("/")):
        return "climbs out by .."
    if len(path.encode()) > _MOST_PATH_BYTES:
        return f"has more than {_MOST_PATH_BYTES:,} bytes"
    if any(len(step.encode()) > _MOST_STEP_BYTES for step in path.split("/")):
        return f"has a name of more than {_MOST_STEP_BYTES} bytes"
    return ""


def _unaltered(path: str) -> str:
    _below(path)
    return path


def _prefix(path: str) -> str:
    return _below_or_same(path) + ("/" if path.endswith("/") and _tidied(path) else "")


# A file or folder below another; the same place itself; and a beginning of paths.
RelativePath = Annotated[
    str,
    AfterValidator(_below),
    Field(json_schema_extra={"pattern": rf"^{_INSIDE}(?!(\.?/)*\.?$).+$"}),
]
# Of members of an archive, whose names are compared as they are.
MemberGlob = Annotated[
    str,
    AfterValidator(_unaltered),
    Field(json_schema_extra={"pattern": rf"^{_INSIDE}(?!(\.?/)*\.?$).+$"}),
]
RelativeFolder = Annotated[
    str, AfterValidator(_below_or_same), Field(json_schema_extra={"pattern": rf"^{_INSIDE}.*$"})
]
PathPrefix = Annotated[
    str, AfterValidator(_prefix), Field(json_schema_extra={"pattern": rf"^{_INSIDE}.*$"})
]
