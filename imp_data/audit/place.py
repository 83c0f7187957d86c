"""Where audited records are: a file or folder of this machine, or a dataset of the Hub."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from imp_data.audit.discovery import list_names, record_names
from imp_data.audit.selection import CardMetadata, Selection, read_card, select_files
from imp_data.errors import UserError
from imp_data.redaction import redact
from imp_data.storage.paths import expand_user

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_HUB_PREFIXES = ("hf://datasets/", "https://huggingface.co/datasets/")


class Place(NamedTuple):
    """The files to audit, `names` below `folder`.

    `upstream` is the folder of sources of a dataset of the Hub, whose commit is `revision`;
    `title` names the place in the report; `others` maps files that hold images in a way that is not
    read to the reason.
    """

    folder: Path
    names: list[str]
    title: str
    card: CardMetadata = CardMetadata()
    upstream: Path | None = None
    revision: str | None = None
    versions: Mapping[str, str] = MappingProxyType({})
    others: Mapping[str, str] = MappingProxyType({})


def parse_hub_name(text: str) -> str | None:
    """Return the dataset of the Hub that an argument names; None for a path of this machine.

    A path that exists is never the name of a dataset; write `hf://datasets/OWNER/NAME` for one of
    the same name.
    """
    for prefix in _HUB_PREFIXES:
        if text.startswith(prefix):
            return _checked_hub_name(text, text.removeprefix(prefix).strip("/"))
    path = Path(expand_user(text))
    if not _HUB_NAME.fullmatch(text):
        return None
    if not path.exists():
        return text
    if path.is_file():
        return None
    notice = f"{text} exists here and is audited; for the dataset of the Hub of this name write"
    print(redact(f"{notice} {_HUB_PREFIXES[0]}{text}"), file=sys.stderr)
    return None


def _checked_hub_name(text: str, name: str) -> str:
    if not _HUB_NAME.fullmatch(name):
        remedy = "write hf://datasets/OWNER/NAME, with --revision and --files for a part of it"
        raise UserError(text, "is no dataset of the Hub", remedy)
    return name


def local_place(path: Path, wanted: Selection) -> Place:
    """Return the files of records at a path. Raise UserError if there are none."""
    if path.is_file():
        card = read_card(path.parent)
        names = select_files(path, [path.name], wanted, card)
        return Place(path.parent, names, str(path), card)
    if not path.is_dir():
        remedy = "name a file or a folder of records, or a dataset of the Hub: OWNER/NAME"
        raise UserError(path, "does not exist", remedy)
    card = read_card(path)
    names = select_files(path, record_names(path, list_names(path)), wanted, card)
    return Place(path, names, str(path), card)
