"""Hostile images: the fast decoder and Pillow agree, in bounded memory and time."""

import random
from collections.abc import Iterator
from pathlib import Path

from hostile.apart import apart
from hostile.image_cases import IMAGES
from hostile.images import encoded, jpeg, photo, png

from imp_data.images.decoding import decode_rgb
from imp_data.images.fingerprint import look
from imp_data.images.refusals import NoImage, TooManyPixels
from imp_data.manifests import Limits
from trials import Outcome

_LIMITS = Limits(max_pixels=4_000_000)
_SECONDS, _MIB = 20.0, 200
_FLIPS = 200
_ALTERED = {
    "JPEG": jpeg,
    "progressive JPEG": lambda: jpeg(progressive=True),
    "JPEG in CMYK": lambda: jpeg(image=photo().convert("CMYK")),
    "PNG": png,
    **{form: (lambda form=form: encoded(form=form)) for form in ("GIF", "WEBP", "BMP", "TIFF")},
}


def trials(folder: Path, seed: int) -> Iterator[Outcome]:
    """Run every hostile image, then valid ones with some random bytes changed."""
    for name, case in IMAGES.items():
        told = apart(_looked_at, case.make(), seconds=_SECONDS, mib=_MIB)
        yield Outcome(name, None if told == (case.status, None) else _failure(told, case.status))
    draws = random.Random(seed)
    forms = [(form, make()) for form, make in _ALTERED.items()]
    for number in range(_FLIPS):
        form, data = forms[number % len(forms)]
        altered = bytearray(data)
        places = [draws.randrange(len(data)) for _ in range(draws.choice([1, 3, 30]))]
        for place in places:
            altered[place] = draws.randrange(256)
        told = apart(_looked_at, bytes(altered), seconds=_SECONDS, mib=_MIB)
        failed = told if isinstance(told, str) else told[1]
        yield Outcome(f"{form} with other bytes at {places}", failed)


def _failure(told: object, status: str) -> str:
    if isinstance(told, tuple):
        found, differ = told
        return differ or f"{found} instead of {status}"
    return str(told)


def _looked_at(data: bytes) -> tuple[str, str | None]:
    """The status by the quick decoder, and what Pillow's whole decode says otherwise."""
    seen = look(data, _LIMITS)
    try:
        decode_rgb(data, _LIMITS.max_pixels)
        other, why = "ok", ""
    except TooManyPixels as error:
        other, why = "too_large", str(error)
    except NoImage as error:
        other, why = "refused", str(error)
    same = other == {"truncated": "refused", "undecodable": "refused"}.get(seen.status, seen.status)
    return seen.status, None if same else f"{seen.status} ({seen.problem}), else {other} ({why})"
