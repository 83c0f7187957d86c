"""Certify the matcher of the build on anybody's images: what it finds, what it matches by error."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imp_data import __version__
from imp_data.errors import UserError
from imp_data.images.listing import list_images, unique_stems
from imp_data.images.path_spellings import escape_name
from imp_data.screening.decontamination.certificate.describe import (
    Described,
    Unreadable,
    describe,
)
from imp_data.screening.decontamination.certificate.figures import (
    matched_pairs,
    measurement_figures,
)
from imp_data.screening.decontamination.certificate.matchers import Matcher
from imp_data.screening.decontamination.certificate.measure import measure
from imp_data.screening.decontamination.certificate.trial_images import (
    DOCUMENT,
    TrialImage,
    choose_sample,
    stored_images,
)

# With fewer images no interval says anything: 10 of 10 found means 69 % or more.
LEAST_IMAGES = 10
_FORMAT = 1
_LABEL = "certify"


class FoundImages(NamedTuple):
    """The images of some paths, and the files that could not be read, with the reason."""

    images: list[TrialImage]
    unread: dict[str, str]


def find_images(paths: Sequence[Path]) -> FoundImages:
    """List the images in these folders, zips and tars. Raise UserError if a path has none."""
    different = list({path.absolute(): path for path in paths}.values())
    listings = [
        list_images(path, stem)
        for path, stem in zip(different, unique_stems(different), strict=True)
    ]
    unread = {escape_name(k): v for listing in listings for k, v in listing.unread.items()}
    groups = [group for listing in listings for group in listing.groups]
    return FoundImages(list(stored_images(groups)), unread)


def certify(paths: Sequence[Path], altered_images: int, matcher: Matcher) -> dict[str, Any]:
    """Return the certificate of a matcher on the images at these paths.

    Its fields are in docs/decontamination.md. At most `altered_images` different images are
    altered, sampled by the xxh3 of their names; all are matched with each other.
    Raise UserError if fewer than LEAST_IMAGES can be used.
    """
    found = find_images(paths)
    described, broken = describe(found.images, (matcher,), f"{_LABEL}: all images")
    if len(described) < LEAST_IMAGES:
        raise UserError(
            ", ".join(map(str, paths)),
            f"{len(described)} of {len(found.images)} images can be used, {LEAST_IMAGES} are needed"
            + "".join(f"\n  {one.name}: {one.problem}" for one in broken[:5]),
            "name folders, zips or plain tars of more images",
        )
    places = _places_to_alter(described, altered_images)
    (measured,), unaltered = measure(described, places, (matcher,), f"{_LABEL}: altered copies")
    return {
        "format": _FORMAT,
        "program": f"imp-data {__version__}",
        "images": _image_counts(found, described, [*broken, *unaltered]),
        "altered_images": len(measured.altered),
        **measurement_figures(measured),
        "matched": matched_pairs(measured),
    }


def _places_to_alter(described: Sequence[Described], most: int) -> list[int]:
    """Choose one image of each origin; documents and photos by halves, if there are so many."""
    first = {one.image.origin: n for n, one in reversed([*enumerate(described)])}
    kinds: dict[bool, list[int]] = {False: [], True: []}
    for place in sorted(first.values()):
        kinds[described[place].image.kind == DOCUMENT].append(place)
    fewest = min(kinds.values(), key=len)
    few = min(len(fewest), most // 2)
    chosen: list[int] = []
    for places in kinds.values():
        names = [described[place].image.name for place in places]
        chosen += [places[n] for n in choose_sample(names, few if places is fewest else most - few)]
    return sorted(chosen)


def _image_counts(
    found: FoundImages, described: Sequence[Described], broken: Sequence[Unreadable]
) -> Mapping[str, Any]:
    documents = sum(one.image.kind == DOCUMENT for one in described)
    return {
        "found": len(found.images),
        "used": len(described),
        "photo_like": len(described) - documents,
        "document_like": documents,
        "different": len({one.image.origin for one in described}),
        "unusable": {one.name: one.problem for one in broken},
        "not_read": found.unread,
    }
