"""The marker file beside an archive: a list of the members that were extracted from it."""

from collections.abc import Iterable
from pathlib import Path

from imp_data.storage.atomic_write import delete_path, write_atomically
from imp_data.storage.object_store import exists


class Marker:
    """The marker of one archive; `key` identifies its bytes and the requested members."""

    def __init__(self, archive: Path, key: str) -> None:
        self._key = key
        self._path = archive.with_name(f".{archive.name}.unpacked")
        # Members extracted by unfinished attempts and by earlier extractions.
        self._unfinished_path = archive.with_name(f".{archive.name}.unpacking")

    def read_names(self) -> list[str]:
        """Return the members that were extracted beside the archive."""
        return _read(self._path)[1]

    def read_current(self) -> list[str] | None:
        """Return the members extracted with the same key; None if there is no such extraction."""
        key, names = _read(self._path)
        return names if key == self._key else None

    def begin(self) -> list[str]:
        """Mark the extraction as unfinished; return the members that earlier ones extracted."""
        names = [*_read(self._unfinished_path)[1], *self.read_names()]
        self.write_unfinished(names)
        delete_path(self._path)
        return names

    def write_unfinished(self, names: Iterable[str]) -> None:
        """Write the members that a later attempt may overwrite."""
        if names := sorted(names):
            _write(self._unfinished_path, "", names)

    def write_finished(self, names: Iterable[str]) -> None:
        """Write that all members are extracted."""
        _write(self._path, self._key, dict.fromkeys(names))
        delete_path(self._unfinished_path)


def _read(path: Path) -> tuple[str, list[str]]:
    if not exists(path):
        return "", []
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    key, _, names = text.partition("\n\n")
    return key, names.split("\n") if names else []


def _write(path: Path, key: str, names: Iterable[str]) -> None:
    # Names need not be UTF-8.
    with write_atomically(path) as aside:
        text = "\n".join((key, "", *names))
        aside.write_text(text, encoding="utf-8", errors="surrogateescape")
