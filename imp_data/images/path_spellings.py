"""Match spellings of one name: an image's path may differ between a record and its archive.

Names are compared in three steps, the strictest first: the same characters (in NFC, percent escapes
resolved, in any encoding of the archive); the same except for case; the same except for the image
ending, since OCR-VQA's records have `.jpg` for files that are published as `.gif` or `.png`.
"""

import os
import unicodedata
from array import array
from collections.abc import Iterable
from urllib.parse import unquote

import numpy as np
import xxhash

from imp_data.storage.folders import is_sidecar
from imp_data.storage.image_paths import BLANK, normalize_path

ENDINGS = frozenset(
    {
        *("jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", "bmp", "tif", "tiff"),
        *("avif", "heic", "heif", "jp2", "j2k", "ico", "ppm", "pgm", "tga"),
    }
)
# Encodings of archives and old disks besides UTF-8. One single-byte encoding cannot be told from
# another, so they apply only to bytes of unknown encoding.
_MULTIBYTE = ("gb18030", "big5", "shift_jis", "euc_kr")
_SINGLE_BYTE = ("cp1252", "latin-1", "cp437")
# Encodings by which names are misread: zip tools assume cp437, editors the others.
_MISREAD_AS = ("cp437", "cp1252", "latin-1")

# A name, and its bytes if its encoding is not known.
EncodedName = tuple[str, bytes | None]


def name_on_disk(name: str) -> EncodedName:
    """Return the name of a file or tar member, with its bytes if they are not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name, name.encode("utf-8", "surrogateescape")
    return name, None


def escape_name(name: str) -> str:
    """Return the name for Arrow and JSON: a byte that is not UTF-8 becomes `%E9`."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "".join(_escaped(character) for character in name)
    return name


def respelling_to_report(requested: str, found: str | None) -> str | None:
    """Return the spelling to report for a found image; None if it equals the requested path."""
    return None if found is None or escape_name(found) == requested else escape_name(found)


def _escaped(character: str) -> str:
    escapes = "\udc80" <= character <= "\udcff"
    return f"%{ord(character) - 0xDC00:02X}" if escapes else character


def disk_name_readings(name: str, raw: bytes | None = None) -> set[str]:
    """Return the possible readings of a name in a folder or archive.

    `raw` are its bytes if their encoding is not declared.
    """
    found = record_name_readings(name)
    if raw is not None:
        found |= _decode(raw, (*_MULTIBYTE, *_SINGLE_BYTE))
    if not name.isascii():
        found |= {reading for text in [*found] for reading in _reverse_misreading(text, _MULTIBYTE)}
    return found


def record_name_readings(name: str) -> set[str]:
    """Return the possible readings of a record's name: itself, unescaped, decoded as UTF-8.

    These are fewer than `disk_name_readings`, or any two names would have some in common.
    """
    found = {name}
    if name.isascii() and "%" not in name:
        return found
    if "%" in name:
        found.add(unquote(name, errors="surrogateescape"))
    for text in [*found]:
        raw = name_on_disk(text)[1]
        if raw is not None:
            found |= _decode(raw, (*_MULTIBYTE, *_SINGLE_BYTE))
        found |= _reverse_misreading(text, ())
    return found


def _reverse_misreading(text: str, encodings: Iterable[str]) -> set[str]:
    """Return the texts that the misread text may have been, by every known misreading."""
    found: set[str] = set()
    for encoding in _MISREAD_AS:
        try:
            misread = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        found |= _decode(misread, encodings)
    return found


def _decode(raw: bytes, encodings: Iterable[str]) -> set[str]:
    """Decode by UTF-8, which never fits by chance; else by every encoding that fits."""
    found: set[str] = set()
    for encoding in ("utf-8", *encodings):
        try:
            found.add(raw.decode(encoding))
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8":
            break
    return found


def _fold_encoding(name: str) -> str:
    steps = normalize_path(name).lstrip("/").split("/")
    return unicodedata.normalize("NFC", "/".join(step.strip(BLANK) for step in steps))


def _fold_case(name: str) -> str:
    return unicodedata.normalize("NFC", _fold_encoding(name).casefold())


def _fold_ending(name: str) -> str:
    stem, dot, ending = _fold_case(name).rpartition(".")
    return stem if stem and ending in ENDINGS else f"{stem}{dot}{ending}"


def spelling_distance(requested: str, found: EncodedName) -> int:
    """Return how two spellings of one name differ: 0 in encoding, 1 in case, 2 in the ending."""
    requested_readings, found_readings = record_name_readings(requested), disk_name_readings(*found)
    for step, fold in enumerate((_fold_encoding, _fold_case)):
        if not {*map(fold, requested_readings)}.isdisjoint(map(fold, found_readings)):
            return step
    return 2


class NameIndex:
    """Index the names of a folder or archive by any spelling; 20 bytes a name more than the names.

    Names that differ in spelling alone are all found.
    """

    def __init__(self, names: Iterable[EncodedName]) -> None:
        keys, places, self._names = array("Q"), array("Q"), bytearray()
        self._raw: dict[str, bytes] = {}
        for name, raw in names:
            if is_sidecar(name):
                continue
            if raw is not None:
                self._raw[name] = raw
            for key in {*map(_fold_ending, disk_name_readings(name, raw))}:
                keys.append(_hash(key))
                places.append(len(self._names))
            self._names += name.encode("utf-8", "surrogateescape") + b"\0"
        order = np.argsort(np.array(keys, np.uint64), kind="stable")
        self._keys = np.array(keys, np.uint64)[order]
        self._places = np.array(places, np.uint64)[order]

    def find(self, requested: str) -> list[EncodedName]:
        """Return the names that match in some spelling, sorted."""
        places: set[int] = set()
        wanted = {*map(_fold_ending, record_name_readings(requested))}
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
