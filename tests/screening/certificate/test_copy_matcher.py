"""The matcher of altered copies is measured like any other."""

import pytest
from conftest import encoded
from PIL import Image, ImageOps
from scenes import chart, scene

from imp_data.screening.decontamination.certificate.copy_matcher import CopyMatcher

MATCHER = CopyMatcher()
PHOTO = scene(1)


def values(image: Image.Image, *references: Image.Image) -> dict[int, float]:
    """Return {reference: value} of the pairs that have one."""
    known = [MATCHER.describe(encoded(one)) for one in references]
    (pairs,) = MATCHER.index(known).match([None, MATCHER.describe(encoded(image))])
    assert set(pairs.images.tolist()) <= {1}
    return dict(zip(pairs.references.tolist(), pairs.values.tolist(), strict=True))


@pytest.mark.parametrize(
    "copy",
    [
        ImageOps.mirror(PHOTO),
        PHOTO.crop((20, 15, 310, 232)),
        ImageOps.expand(PHOTO, 20, "black"),
        PHOTO.rotate(90, expand=True),
    ],
    ids=["mirrored", "cropped", "framed", "turned"],
)
def test_altered_copies_are_near_their_original_alone(copy: Image.Image) -> None:
    found = values(copy, scene(2), PHOTO, scene(3))
    assert {n for n, value in found.items() if value <= MATCHER.threshold} == {1}


def test_a_nearly_empty_image_has_no_features_and_matches_nothing() -> None:
    assert MATCHER.describe(encoded(Image.new("RGB", (200, 200), "white"))) is None
    assert values(PHOTO, Image.new("RGB", (200, 200), "white")) == {}


def test_a_match_with_a_document_is_reported_and_one_with_a_photo_is_a_copy() -> None:
    photo, page = (MATCHER.describe(encoded(one)) for one in (PHOTO, chart([20, 70, 40])))
    assert photo is not None and page is not None
    assert MATCHER.decide(0.1, photo, photo) == "copy"
    assert MATCHER.decide(0.1, photo, page) == "report"
    assert MATCHER.decide(0.5, photo, photo) == "different"


def test_a_broken_image_is_refused() -> None:
    with pytest.raises(ValueError, match="no complete image"):
        MATCHER.describe(encoded(PHOTO)[:-200])
