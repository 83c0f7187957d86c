"""The perceptual hash equals imagehash's and does not depend on rounding."""

import io
from typing import Any

import imagehash
import numpy as np
import pytest
import scipy.fft
import simplejpeg
from conftest import encoded, photo
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from imp_data.images.decoding import lowest_frequencies
from imp_data.images.fingerprint import fingerprint_bytes
from imp_data.images.phash import Frequencies, Pixels, frequencies, phashes, strips, upright
from imp_data.manifests import Limits

GREY = np.asarray(photo(4, (150, 110)).convert("L"))
# Each turns what a camera stored into what was seen (EXIF 2.32, table 6).
AS_SEEN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def of(pixels: Pixels) -> Frequencies:
    size = pixels.shape[1], pixels.shape[0]
    return frequencies([pixels], size, size)


def hash_of(image: Image.Image) -> int:
    return int(str(imagehash.phash(image)), 16)


@pytest.mark.parametrize("size", [(1, 1), (9, 7), (32, 32), (33, 31), (300, 200), (1500, 40)])
def test_frequencies_are_those_of_the_image_that_pillow_scales_to_32_by_32(
    size: tuple[int, int],
) -> None:
    grey = photo(1, size).convert("L")
    small = np.asarray(grey.convert("F").resize((32, 32), Image.Resampling.LANCZOS), np.float64)
    asked = scipy.fft.dctn(small, norm=None)[:8, :8] / 4
    assert np.allclose(of(np.asarray(grey)), asked, atol=0.05)


@given(st.integers(0, 10_000), st.tuples(st.integers(20, 400), st.integers(20, 400)))
@example(302, (349, 24))  # differs in four bits
def test_the_hash_is_imagehash_s_but_for_frequencies_that_rounding_takes_across_their_median(
    seed: int, size: tuple[int, int]
) -> None:
    grey = photo(seed, size).convert("L")
    lowest = of(np.asarray(grey))
    (found,) = phashes([lowest])
    assert found is not None
    differs = np.unpackbits(np.array([found ^ hash_of(grey)], ">u8").view(np.uint8)) == 1
    # In units of which one grey level in every pixel makes 1,024. The most in 1,500 images: 25.
    assert (np.abs(lowest.ravel() - np.median(lowest))[differs] < 128).all()


def test_hashes_of_many_are_those_of_each() -> None:
    some = [of(np.asarray(photo(seed).convert("L"))) for seed in range(5)]
    assert phashes(some) == [phashes([one])[0] for one in some]
    assert phashes([]) == []


@pytest.mark.parametrize("rows", [1, 7, 110, 500])
def test_an_image_may_come_in_strips_of_any_height(rows: int) -> None:
    pieces = [GREY[top : top + rows] for top in range(0, len(GREY), rows)]
    assert np.allclose(frequencies(pieces, (150, 110), (150, 110)), of(GREY))


def test_a_large_image_is_cut_into_strips_of_256_rows() -> None:
    image = photo(2, (40, 600))
    found = list(strips(image))
    assert [one.shape for one in found] == [(256, 40), (256, 40), (88, 40)]
    assert np.array_equal(np.concatenate(found), np.asarray(image.convert("L")))


@pytest.mark.parametrize("orientation", AS_SEEN)
def test_an_image_is_turned_upright_in_its_frequencies(orientation: int) -> None:
    seen = Image.fromarray(GREY).transpose(AS_SEEN[orientation])
    assert np.allclose(upright(of(GREY), orientation), of(np.asarray(seen)))


@pytest.mark.parametrize("grey", [1, 128, 255])
@pytest.mark.parametrize("size", [(8, 8), (80, 60), (613, 407)])
def test_an_empty_page_has_no_hash_whatever_its_size_and_its_grey(
    grey: int, size: tuple[int, int]
) -> None:
    assert fingerprint_bytes(encoded(Image.new("L", size, grey)), Limits()).phash is None


def test_the_last_bits_of_a_number_do_not_decide_between_equal_frequencies() -> None:
    page = np.full((60, 80), 255, np.uint8)
    page[20:40, 20:60] = 0  # symmetric: three of four frequencies are naught
    exact = of(page)
    noise = np.random.default_rng(1).normal(scale=1e-9, size=exact.shape)
    assert phashes([exact]) == phashes([exact + noise])


@pytest.mark.parametrize("size", [(1001, 771), (489, 487), (2049, 1153)])
def test_the_last_column_and_row_of_a_reduced_jpeg_count_for_the_part_they_cover(
    size: tuple[int, int],
) -> None:
    content = encoded(photo(6, size), "JPEG", quality=95)
    with Image.open(io.BytesIO(content)) as image:
        whole = of(np.asarray(image.convert("L")))
    with Image.open(io.BytesIO(content)) as image:
        reduced = lowest_frequencies(image, content)
        as_whole_pixels = of(np.asarray(image))
    # All but the first, which is the brightness.
    errors = [np.abs(one - whole).flat[1:].max() for one in (reduced, as_whole_pixels)]
    assert errors[0] < errors[1] / 10


FORMS = {
    "grey": (photo(3, (700, 500)).convert("L"), {}),
    "whole chroma": (photo(3, (700, 500)), {"subsampling": 0}),
    "RGB, no YCbCr": (photo(3, (700, 500)), {"keep_rgb": True}),
    "progressive": (photo(3, (700, 500)), {"progressive": True}),
    "with restarts": (photo(3, (700, 500)), {"restart_marker_blocks": 5}),
    "small": (photo(3, (61, 59)), {}),
    "narrow": (photo(3, (900, 40)), {}),
    "odd": (photo(3, (483, 1001)), {"quality": 30}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_jpeg_decodes_to_the_same_by_simplejpeg_and_by_pillow(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, options = FORMS[form]
    content = encoded(image, "JPEG", **options)
    decoded: list[Any] = []

    def decode(*args: Any, **options: Any) -> Any:
        decoded.append(real(*args, **options))
        return decoded[-1]

    real = simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", decode)
    quick = fingerprint_bytes(content, Limits())
    assert len(decoded) == 1
    monkeypatch.setattr(simplejpeg, "decode_jpeg", refused)
    assert fingerprint_bytes(content, Limits()) == quick
    assert quick.status == "ok"


def refused(*_: Any, **__: Any) -> Any:
    raise ValueError("not by me")


def test_an_image_with_a_libjpeg_warning_that_pillow_reads_has_its_hash() -> None:
    content = encoded(photo(3, (700, 500)), "JPEG")
    place = content.index(b"\xff\xda") - 2
    padded = content[:place] + content[place:].replace(b"\xff\xd9", b"\0\0\0\xff\xd9")
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(padded, "GRAY")
    assert fingerprint_bytes(padded, Limits()).phash == fingerprint_bytes(content, Limits()).phash
