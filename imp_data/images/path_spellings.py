"""Spellings of one name: how an image's path may differ between a record and a folder or archive.

Names are compared in three steps, the strictest first: the same characters (in NFC, percent escapes
resolved, whatever the encoding of the archive); the same but for case; the same but for the ending
of an image, since OCR-VQA's records say `.jpg` of what is published as `.gif` or `.png`.
"""

import os
import unicodedata
from array import array
from collections.abc import Iterable
from urllib.parse import unquote

import numpy as np
import xxhash

from imp_data.storage.folders import is_sidecar
from imp_data.storage.image_paths import BLANK, normal_path

ENDINGS = frozenset(
    {
        *("jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", "bmp", "tif", "tiff"),
        *("avif", "heic", "heif", "jp2", "j2k", "ico", "ppm", "pgm", "tga"),
    }
)
# What archives and old disks are written in where it is not UTF-8; of those with one byte a
# character none can be told from another, so only bytes of unknown encoding are read by them.
_MULTIBYTE = ("gb18030", "big5", "shift_jis", "euc_kr")
_SINGLE_BYTE = ("cp1252", "latin-1", "cp437")
# How names are misread: by zip tools that take all of them for cp437, and by editors.
_MISREAD_AS = ("cp437", "cp1252", "latin-1")

# A name, and its bytes where its encoding is not known.
Named = tuple[str, bytes | None]


def on_disk(name: str) -> Named:
    """A file's or tar member's name; bytes that are not UTF-8 are surrogates in it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name, name.encode("utf-8", "surrogateescape")
    return name, None


def shown(name: str) -> str:
    """The name as Arrow and JSON hold it: a byte that is not UTF-8 as `%E9`."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "".join(_escaped(character) for character in name)
    return name


def noted(asked: str, found: str | None) -> str | None:
    """The spelling to note of an image that was found by it: none where it is shown as asked."""
    return None if found is None or shown(found) == asked else shown(found)


def _escaped(character: str) -> str:
    escapes = "\udc80" <= character <= "\udcff"
    return f"%{ord(character) - 0xDC00:02X}" if escapes else character


def readings(name: str, raw: bytes | None = None) -> set[str]:
    """What a name in a folder or archive may stand for; `raw` are its bytes if it does not say how
    they are encoded."""
    found = meanings(name)
    if raw is not None:
        found |= _decoded(raw, (*_MULTIBYTE, *_SINGLE_BYTE))
    if not name.isascii():
        found |= {reading for text in [*found] for reading in _undone(text, _MULTIBYTE)}
    return found


def meanings(name: str) -> set[str]:
    """What a record's name may stand for: itself, with escapes resolved, with UTF-8 read as such.

    These are fewer than `readings`, or any two names would have some in common.
    """
    found = {name}
    if name.isascii() and "%" not in name:
        return found
    if "%" in name:
        found.add(unquote(name, errors="surrogateescape"))
    for text in [*found]:
        raw = on_disk(text)[1]
        if raw is not None:
            found |= _decoded(raw, (*_MULTIBYTE, *_SINGLE_BYTE))
        found |= _undone(text, ())
    return found


def _undone(text: str, encodings: Iterable[str]) -> set[str]:
    """The text as it was before it was misread, by every way that it can have been."""
    found: set[str] = set()
    for encoding in _MISREAD_AS:
        try:
            misread = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        found |= _decoded(misread, encodings)
    return found


def _decoded(raw: bytes, encodings: Iterable[str]) -> set[str]:
    """By UTF-8, which is nothing by chance; else by every encoding that fits."""
    found: set[str] = set()
    for encoding in ("utf-8", *encodings):
        try:
            found.add(raw.decode(encoding))
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8":
            break
    return found


def _strict(name: str) -> str:
    steps = normal_path(name).lstrip("/").split("/")
    return unicodedata.normalize("NFC", "/".join(step.strip(BLANK) for step in steps))


def _caseless(name: str) -> str:
    return unicodedata.normalize("NFC", _strict(name).casefold())


def _loose(name: str) -> str:
    stem, dot, ending = _caseless(name).rpartition(".")
    return stem if stem and ending in ENDINGS else f"{stem}{dot}{ending}"


def closeness(asked: str, found: Named) -> int:
    """How far apart two spellings of one name are: 0 in encoding, 1 in case, 2 in the ending."""
    ours, theirs = meanings(asked), readings(*found)
    for step, fold in enumerate((_strict, _caseless)):
        if not {*map(fold, ours)}.isdisjoint(map(fold, theirs)):
            return step
    return 2


class Names:
    """The names in a folder or archive, found by any spelling; some 20 bytes more than they have.

    Names that differ in spelling alone are all found.
    """

    def __init__(self, names: Iterable[Named]) -> None:
        keys, places, self._names = array("Q"), array("Q"), bytearray()
        self._raw: dict[str, bytes] = {}
        for name, raw in names:
            if is_sidecar(name):
                continue
            if raw is not None:
                self._raw[name] = raw
            for key in {*map(_loose, readings(name, raw))}:
                keys.append(_hash(key))
                places.append(len(self._names))
            self._names += name.encode("utf-8", "surrogateescape") + b"\0"
        order = np.argsort(np.array(keys, np.uint64), kind="stable")
        self._keys = np.array(keys, np.uint64)[order]
        self._places = np.array(places, np.uint64)[order]

    def like(self, asked: str) -> list[Named]:
        """The names that may be meant, sorted."""
        places: set[int] = set()
        wanted = {*map(_loose, meanings(asked))}
        for key in map(_hash, wanted):
            first, last = (
                np.searchsorted(self._keys, np.uint64(key), s) for s in ("left", "right")
            )
            places.update(self._places[first:last].tolist())
        names = {self._name(place) for place in places}
        return [(name, self._raw.get(name)) for name in sorted(names)]

    def _name(self, place: int) -> str:
        end = self._names.index(b"\0", place)
        return os.fsdecode(bytes(self._names[place:end]))


def _hash(key: str) -> int:
    return xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogateescape"))
