"""Pairs of different images are counted by kind; images that show the same are told apart."""

from collections import Counter
from itertools import combinations

import numpy as np
from conftest import encoded, photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imp_data.screening.decontamination.certificate.appearance import (
    Appearance,
    examine,
    group_copies,
    is_document_like,
)
from imp_data.screening.decontamination.certificate.drawn_documents import (
    DRAWN_DOCUMENTS,
    draw_document,
)
from imp_data.screening.decontamination.certificate.drawn_photos import draw_photo
from imp_data.screening.decontamination.certificate.pair_kinds import (
    HALVES,
    PairKinds,
    family_kind,
    pair_kind,
)
from imp_data.screening.decontamination.certificate.trial_images import (
    TrialImage,
    choose_sample,
    crops_of,
    drawn_documents,
    drawn_frames,
    drawn_photos,
    half_of,
)


def image(name: str, kind: str, origin: str = "", family: str = "") -> TrialImage:
    return TrialImage(name, kind, origin or name, family, bytes)


def counted(images: list[TrialImage]) -> dict[str, int]:
    kinds = PairKinds(images)
    totals = kinds.count_all().sum(axis=0).tolist()
    return {name: n for name, n in zip(kinds.names, totals, strict=True) if n}


def test_pairs_are_named_by_what_they_show() -> None:
    images = [
        image("a", "photo"),
        image("b", "photo"),
        image("a, crop", "crop", "a"),
        image("f1", "frame", family="scene"),
        image("f2", "frame", family="scene"),
        image("c1", "chart", family="template"),
        image("c2", "chart", family="template"),
        image("c3", "chart", family="another"),
        image("p", "page"),
    ]
    assert counted(images) == {
        "photos": 5,  # a-b, and each of both with two frames
        "photos and crops of others": 3,  # not a with its own crop
        "frames of one scene": 1,
        "charts of one template": 1,
        "charts": 2,
        "documents of two kinds": 3,
        "photos and documents": 20,
    }


KINDS = st.sampled_from(["photo", "crop", "frame", "chart", "page", "document"])
IMAGES = st.lists(st.tuples(KINDS, st.integers(0, 5), st.integers(0, 2)), max_size=12)


@given(IMAGES)
def test_counting_by_numbers_agrees_with_counting_pairs(
    drawn: list[tuple[str, int, int]],
) -> None:
    images = [
        image(str(n), kind, f"origin {origin}", (family and f"{kind} {family}") or "")
        for n, (kind, origin, family) in enumerate(drawn)
    ]
    kinds = PairKinds(images)
    expected: Counter[tuple[str, str]] = Counter()
    for one, other in combinations(images, 2):
        if one.origin == other.origin:
            continue
        same = one.family and one.family == other.family
        name = family_kind(one.kind) if same else pair_kind(one.kind, other.kind)
        halves = {half_of(one.origin), half_of(other.origin)}
        expected[halves.pop() if len(halves) == 1 else "across", name] += 1
    all_pairs = kinds.count_all()
    found = {
        (half, name): int(all_pairs[h, n])
        for h, half in enumerate(HALVES)
        for n, name in enumerate(kinds.names)
        if all_pairs[h, n]
    }
    assert found == expected
    if images:
        with_each = sum(kinds.count_with(n).sum() for n in range(len(images)))
        assert with_each == 2 * all_pairs.sum()


def test_copies_that_agree_pixel_by_pixel_are_one_origin() -> None:
    one = photo(1, (200, 150))
    shown = [
        one,
        photo(2, (200, 150)),
        one.resize((100, 75)),
        one.transpose(Image.Transpose.ROTATE_90),
        one.crop((60, 50, 200, 150)),
    ]
    assert group_copies([examine(encoded(each)) for each in shown]) == [0, 1, 0, 0, 4]


def test_documents_are_one_origin_only_if_their_pixels_are_equal() -> None:
    page = draw_document("page", 0, 0)
    other = page.copy()
    other.putpixel((5, 5), (0, 0, 0))
    known = [examine(encoded(each)) for each in (page, other, page)]
    assert [one.document_like for one in known] == [True] * 3
    assert group_copies(known) == [0, 1, 0]


def test_even_thumbnails_agree_with_nothing() -> None:
    flat = np.full((32, 32), 90, np.uint8)
    assert group_copies([Appearance(n, flat, False) for n in range(2)]) == [0, 1]


def test_documents_are_told_from_photos() -> None:
    for kind in DRAWN_DOCUMENTS:
        assert examine(encoded(draw_document(kind, 1, 1))).document_like, kind
    assert not any(examine(encoded(draw_photo(seed))).document_like for seed in range(5))
    assert is_document_like(np.full((1, 9), 255, np.uint8))


def test_drawn_images_have_the_origins_and_families_that_hard_pairs_need() -> None:
    photos = list(drawn_photos(2))
    crops = list(crops_of(photos, 2))
    assert [crop.origin for crop in crops] == ["photo 0", "photo 0", "photo 1", "photo 1"]
    frames, documents = list(drawn_frames(2)), list(drawn_documents(1))
    assert Counter(frame.family for frame in frames) == {"scene 50000": 6, "scene 50001": 6}
    assert len({frame.origin for frame in frames}) == 12
    assert Counter(one.kind for one in documents) == dict.fromkeys(DRAWN_DOCUMENTS, 8)
    some = [*photos, crops[0], frames[1], *documents[::8]]
    assert [one.read() for one in some] == [one.read() for one in some]
    assert len({one.read() for one in some}) == len(some)


@given(st.lists(st.text(max_size=8), unique=True, max_size=40), st.integers(0, 12), st.text())
def test_one_more_image_changes_at_most_one_of_the_sample(
    names: list[str], most: int, more: str
) -> None:
    chosen = {names[place] for place in choose_sample(names, most)}
    assert len(chosen) == min(most, len(names))
    assert chosen == {names[::-1][place] for place in choose_sample(names[::-1], most)}
    others = [*names, more] if more not in names else names
    assert len(chosen - {others[place] for place in choose_sample(others, most)}) <= 1
