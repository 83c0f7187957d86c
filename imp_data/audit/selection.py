"""Choose files of records by glob, config and split, as a dataset's card states them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from imp_data.errors import UserError
from imp_data.storage.globs import matches_glob

CARD = "README.md"
# The words by which `datasets` recognises the splits in names of files and folders.
_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_MOST_SHOWN = 20


class Selection(NamedTuple):
    """Which files to audit: a glob of their names, a config, and a split; None: all."""

    files: str | None = None
    config: str | None = None
    split: str | None = None


class CardMetadata(NamedTuple):
    """The licence that a dataset's card states, and the globs of each (config, split)."""

    license: str | None = None
    data_files: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType({})

    @property
    def configs(self) -> list[str]:
        """The names of the configs."""
        return list(dict.fromkeys(config for config, _ in self.data_files))


def parse_card(text: str) -> CardMetadata:
    """Return what the YAML at the beginning of a card states; nothing if it cannot be read."""
    from huggingface_hub import DatasetCard

    data: Any = DatasetCard(text, ignore_metadata_errors=True).data
    found = data.to_dict()
    stated = found.get("license")
    if stated == "other":
        stated = found.get("license_name") or stated
    license = ", ".join(map(str, stated)) if isinstance(stated, list) else stated
    configs = found.get("configs")
    data_files = dict[tuple[str, str], tuple[str, ...]]()
    for config in configs if isinstance(configs, list) else []:
        if isinstance(config, dict):
            for split, globs in _data_files(config.get("data_files")):
                data_files[str(config.get("config_name", "default")), split] = globs
    return CardMetadata(None if license is None else str(license), data_files)


def _data_files(stated: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each split and its globs, from one of the forms of `data_files`."""
    parts = stated if isinstance(stated, list) else [stated]
    plain = tuple(part for part in parts if isinstance(part, str))
    if plain:
        yield "train", plain  # as `datasets` names what has no split
    for part in parts:
        if isinstance(part, dict) and part.get("path"):
            path = part["path"]
            globs = path if isinstance(path, list) else [path]
            yield str(part.get("split", "train")), tuple(map(str, globs))


def read_card(folder: Path) -> CardMetadata:
    """Return what the card in a folder states; nothing if there is none."""
    try:
        return parse_card((folder / CARD).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return CardMetadata()


def select_files(
    where: object, names: Sequence[str], wanted: Selection, card: CardMetadata
) -> list[str]:
    """Return the names that are wanted, in order. Raise UserError if there are none."""
    chosen = list(names)
    if wanted.files is not None:
        chosen = [name for name in chosen if _matches(name, wanted.files)]
        if not chosen:
            problem = f"no file of records matches {wanted.files}"
            raise UserError(where, problem, f"choose among {_listed(names)}")
    if wanted.config is not None:
        chosen = _of_config(where, chosen, wanted, card)
    if wanted.split is not None:
        chosen = _of_split(where, chosen, wanted, card)
    return chosen


def _matches(name: str, pattern: str) -> bool:
    """Return whether a glob matches a path, or without a slash the name of a file anywhere."""
    anywhere = "/" not in pattern and matches_glob(name.rpartition("/")[2], pattern)
    return matches_glob(name, pattern) or anywhere


def _of_config(where: object, names: list[str], wanted: Selection, card: CardMetadata) -> list[str]:
    globs = [
        glob
        for (config, _), some in card.data_files.items()
        if config == wanted.config
        for glob in some
    ]
    if globs:
        chosen = [name for name in names if any(matches_glob(name, glob) for glob in globs)]
    else:
        chosen = [name for name in names if wanted.config in name.split("/")[:-1]]
    if not chosen:
        folders = dict.fromkeys(step for name in names for step in name.split("/")[:-1])
        known = card.configs or list(folders)
        choice = f"choose among {_listed(known)}" if known else "leave out --config"
        raise UserError(where, f"has no config {wanted.config}", choice)
    return chosen


def _of_split(where: object, names: list[str], wanted: Selection, card: CardMetadata) -> list[str]:
    stated = {
        split: globs
        for (config, split), globs in card.data_files.items()
        if config == (wanted.config or config)
    }
    globs = [
        glob
        for (config, split), some in card.data_files.items()
        if split == wanted.split and config == (wanted.config or config)
        for glob in some
    ]
    if globs:
        chosen = [name for name in names if any(matches_glob(name, glob) for glob in globs)]
    else:
        chosen = [name for name in names if _split_of(name) == wanted.split]
    if not chosen:
        known = list(stated) or sorted({split for n in names if (split := _split_of(n))})
        choice = f"choose among {_listed(known)}" if known else "leave out --split"
        raise UserError(where, f"has no files of the split {wanted.split}", choice)
    return chosen


def _split_of(name: str) -> str | None:
    """Return the split that a path names; None if it names none."""
    words = re.split(r"[^a-z]+", name.lower())
    found = [split for split, known in _SPLIT_WORDS.items() if {*known} & {*words}]
    return found[0] if found else None


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_SHOWN
    return ", ".join(names[:_MOST_SHOWN]) + (f", and {more:,} more" if more > 0 else "")
