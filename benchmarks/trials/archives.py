"""Hostile archives give the right bytes or a named reason, read in place and unpacked."""

import itertools
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

from hostile.apart import apart
from hostile.archive_case import DAMAGED, JAY, MISSING, OWL, REFUSED, TOO_LARGE, Case
from hostile.tar_cases import TARS
from hostile.zip_cases import ZIPS

from imp_data.errors import UserError
from imp_data.images.reader import DamagedMember, ImageReader, TooManyBytes
from imp_data.manifests import Folder, Limits
from imp_data.raw.extract import extract
from trials import Outcome

_SECONDS, _MIB = 20.0, 150
_MOST_IMAGE_BYTES = 1 << 20
_LIMITS = Limits(max_unpacked_bytes=32 << 20, max_members=10_000)
_OWN = b'["mine"]'
_FLIPS = 100


def trials(folder: Path, seed: int) -> Iterator[Outcome]:
    """Run every hostile archive, then valid ones with one random byte changed."""
    for kind, cases in (("tar", TARS), ("zip", ZIPS)):
        for number, (name, case) in enumerate(cases.items()):
            yield Outcome(f"{kind}: {name}", _failure(folder / f"{kind}{number}", case))
    draws = random.Random(seed)
    whole = [case for case in (*TARS.values(), *ZIPS.values()) if case.laid == WHOLE]
    for number, case in enumerate(itertools.islice(itertools.cycle(whole), _FLIPS)):
        data = bytearray(case.make())
        place, bit = draws.randrange(len(data)), 1 << draws.randrange(8)
        data[place] ^= bit
        told = apart(
            *(_flipped, folder / f"flip{number}", case.file, bytes(data)),
            seconds=_SECONDS,
            mib=_MIB,
        )
        yield Outcome(f"{case.file}, bit {bit} of byte {place} flipped", told)


WHOLE: Mapping[str, bytes] = {"owl.png": OWL, "jay.png": JAY}


def _failure(folder: Path, case: Case) -> str | None:
    data = case.make()
    told = apart(_held, folder, case.file, data, seconds=_SECONDS, mib=_MIB)
    if isinstance(told, str):
        return told
    found, laid, harm = told
    if harm:
        return str(harm)
    if tuple(found) != case.found:
        return f"in place {found!r} instead of {case.found!r}"
    return None if case.laid in (None, laid) else f"unpacked {laid!r} instead of {case.laid!r}"


def _held(folder: Path, file: str, data: bytes) -> tuple[list[bytes | str], object, str | None]:
    """What two members give in place, what unpacking lays, and what it harms."""
    home = folder / "raw" / "birds"
    home.mkdir(parents=True)
    (home / file).write_bytes(data)
    (home / "own.json").write_bytes(_OWN)
    reader = ImageReader(
        folder / "images", folder / "raw", (("birds", Folder(path="birds", file=file)),)
    )
    found = [_found(reader, name) for name in ("owl.png", "jay.png")]
    laid: object
    try:
        extract(home / file, "sha", ["*"], home, _LIMITS)
        files = {path.relative_to(home).as_posix(): path for path in home.rglob("*")}
        laid = {
            name: path.read_bytes()
            for name, path in files.items()
            if path.is_file() and name not in (file, "own.json", f".{file}.unpacked")
        }
    except UserError:
        laid = REFUSED
    return found, laid, _harm(folder, file, data)


def _harm(folder: Path, file: str, data: bytes) -> str | None:
    home = folder / "raw" / "birds"
    if (home / file).read_bytes() != data:
        return "the archive was written over"
    if (home / "own.json").read_bytes() != _OWN:
        return "a file of someone's own was written over"
    if any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in home.rglob("*")):
        return "something was laid that is no file"
    outside = {path.name for path in (*folder.glob("*"), *folder.glob("raw/*"))} - {"raw", "birds"}
    return f"{sorted(outside)} lies outside the folder" if outside else None


def _found(reader: ImageReader, name: str) -> bytes | str:
    try:
        return reader.read(f"birds/{name}", _MOST_IMAGE_BYTES)
    except FileNotFoundError:
        return MISSING
    except DamagedMember:
        return DAMAGED
    except TooManyBytes:
        return TOO_LARGE
    except UserError:
        return REFUSED


def _flipped(folder: Path, file: str, data: bytes) -> str | None:
    """A flipped bit is found, or alters no member; a tar itself has sums of its headers alone."""
    found, laid, harm = _held(folder, file, data)
    if harm or file == "b.tar":
        return harm
    seen = [*found, *(laid.values() if isinstance(laid, dict) else [])]
    wrong = [one for one in seen if isinstance(one, bytes) and one not in WHOLE.values()]
    return f"gave {wrong!r}" if wrong else None
