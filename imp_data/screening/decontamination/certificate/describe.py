"""Describe images by every matcher, as they are and altered, in several processes."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from imp_data.errors import UserError
from imp_data.images.archive_errors import DamagedMember, TooManyBytes
from imp_data.images.decoding import NoImage
from imp_data.images.reader import AmbiguousImage
from imp_data.manifests import Limits
from imp_data.parallel import Crash, map_ordered
from imp_data.parallel.progress import progress
from imp_data.screening.decontamination.certificate.alterations import (
    ALTERATIONS,
    altered,
    copy_seed,
    plain_copy,
)
from imp_data.screening.decontamination.certificate.appearance import (
    Appearance,
    examine,
    group_copies,
)
from imp_data.screening.decontamination.certificate.matchers import Features, Matcher
from imp_data.screening.decontamination.certificate.trial_images import (
    DOCUMENT,
    PHOTO,
    TrialImage,
)

_NO_IMAGE = (NoImage, ValueError, OSError, UserError, DamagedMember, TooManyBytes, AmbiguousImage)
# CPU seconds of one image: describing it by all matchers and altering it in every way.
_MOST_SECONDS = 600


Found = TypeVar("Found")


class Described(NamedTuple):
    """An image with its features by matcher, and the CPU seconds that each took."""

    image: TrialImage
    appearance: Appearance
    features: tuple[Features | None, ...]
    seconds: tuple[float, ...]


class Copies(NamedTuple):
    """Features of the altered copies of an image: for each matcher, one for each alteration."""

    features: tuple[list[Features | None], ...]
    seconds: tuple[float, ...]


class Unreadable(NamedTuple):
    """An image that cannot be used, and why."""

    name: str
    problem: str


def describe(
    images: Sequence[TrialImage], matchers: Sequence[Matcher], label: str
) -> tuple[list[Described], list[Unreadable]]:
    """Describe images; those of no stated kind become photos or documents, with their origins.

    An image that does not decode is returned with the reason, and stops nothing.
    """
    work = partial(_describe_one, matchers=tuple(matchers))
    usable: list[Described] = []
    broken: list[Unreadable] = []
    for found in _map(work, images, label, "images"):
        if isinstance(found, Unreadable):
            broken.append(found)
        else:
            usable.append(found)
    return _settle(usable), broken


def describe_copies(
    images: Sequence[TrialImage],
    matchers: Sequence[Matcher],
    label: str,
    here: bool = True,
) -> Iterator[Copies | Unreadable]:
    """Yield the features of the copies of each image by ALTERATIONS, in order.

    With `here`, in local processes on any engine, for images that only this machine sees.
    """
    work = partial(_alter_one, matchers=tuple(matchers))
    yield from _map(work, images, label, "images altered", here)


def _map(
    work: Callable[[TrialImage], Found | Unreadable],
    images: Sequence[TrialImage],
    label: str,
    unit: str,
    here: bool = True,
) -> Iterator[Found | Unreadable]:
    with progress(label, unit, len(images)) as shown:
        for found in map_ordered(work, images, on_crash=_gave_up, seconds=_MOST_SECONDS, here=here):
            shown.add(1)
            yield found


def _gave_up(image: TrialImage, crash: Crash) -> Unreadable:
    slow = crash.too_long or crash.stalled
    return Unreadable(
        image.name, "takes too long to decode" if slow else "ends every process that decodes it"
    )


def _describe_one(image: TrialImage, matchers: Sequence[Matcher]) -> Described | Unreadable:
    try:
        data = image.read()
        appearance = examine(data, Limits().max_pixels)
        features, seconds = zip(*(_timed(matcher, data) for matcher in matchers), strict=True)
    except _NO_IMAGE as error:
        return Unreadable(image.name, _reason(error))
    return Described(image, appearance, features, seconds)


def _alter_one(image: TrialImage, matchers: Sequence[Matcher]) -> Copies | Unreadable:
    try:
        plain = plain_copy(image.read(), Limits().max_pixels)
    except _NO_IMAGE as error:
        return Unreadable(image.name, _reason(error))
    found: list[list[Features | None]] = [[] for _ in matchers]
    seconds = [0.0 for _ in matchers]
    for name, alteration in ALTERATIONS.items():
        data = altered(plain, alteration, copy_seed(image.name, name))
        for n, matcher in enumerate(matchers):
            features, took = _timed(matcher, data)
            found[n].append(features)
            seconds[n] += took
    return Copies(tuple(found), tuple(seconds))


def _timed(matcher: Matcher, data: bytes) -> tuple[Features | None, float]:
    begun = time.process_time()
    features = matcher.describe(data)
    return features, time.process_time() - begun


def _reason(error: Exception) -> str:
    return error.problem if isinstance(error, UserError) else str(error) or type(error).__name__


def _settle(some: Sequence[Described]) -> list[Described]:
    """Give images of no stated kind their kind and origin."""
    unknown = [n for n, one in enumerate(some) if not one.image.kind]
    settled = list(some)
    firsts = group_copies([some[n].appearance for n in unknown])
    for n, first in zip(unknown, firsts, strict=True):
        kind = DOCUMENT if some[n].appearance.document_like else PHOTO
        origin = some[unknown[first]].image.name
        settled[n] = some[n]._replace(image=some[n].image._replace(kind=kind, origin=origin))
    return settled
