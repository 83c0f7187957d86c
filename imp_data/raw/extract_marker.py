"""The file beside an archive that says what was unpacked from it."""

from collections.abc import Iterable
from pathlib import Path

from imp_data.storage.atomic_write import remove, written_aside
from imp_data.storage.object_store import is_there


class Marker:
    """Of one archive: `told` says which bytes it had and what was asked of it."""

    def __init__(self, archive: Path, told: str) -> None:
        self._told = told
        self._path = archive.with_name(f".{archive.name}.unpacked")
        # What unfinished attempts have laid, and what was laid of the archive before.
        self._begun = archive.with_name(f".{archive.name}.unpacking")

    def names(self) -> list[str]:
        """The members that were laid beside the archive."""
        return _read(self._path)[1]

    def listed(self) -> list[str] | None:
        """The members that were laid of the same archive as asked now; None where none were."""
        told, names = _read(self._path)
        return names if told == self._told else None

    def begin(self) -> list[str]:
        """What earlier attempts have laid; until this one is finished none is."""
        names = [*_read(self._begun)[1], *self.names()]
        self.unfinished(names)
        remove(self._path)
        return names

    def unfinished(self, names: Iterable[str]) -> None:
        """Note the names that may be laid again, whatever the archive then has of them."""
        if names := sorted(names):
            _write(self._begun, "", names)

    def finished(self, names: Iterable[str]) -> None:
        """Note that all members are laid."""
        _write(self._path, self._told, dict.fromkeys(names))
        remove(self._begun)


def _read(path: Path) -> tuple[str, list[str]]:
    if not is_there(path):
        return "", []
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    told, _, names = text.partition("\n\n")
    return told, names.split("\n") if names else []


def _write(path: Path, told: str, names: Iterable[str]) -> None:
    # Names need not be UTF-8.
    with written_aside(path) as aside:
        text = "\n".join((told, "", *names))
        aside.write_text(text, encoding="utf-8", errors="surrogateescape")
