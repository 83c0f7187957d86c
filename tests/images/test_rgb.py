"""Images convert to RGB by the rules, with equal pixels for every consumer."""

import ast
import base64
import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import encoded, photo
from PIL import Image, ImageCms, TiffImagePlugin
from rgb_images import COLOURS, FILES, GREY, in_grey

from imp_data.images import rgb as rgb_rules
from imp_data.images.decoding import NoImage, TooManyPixels, decode_rgb
from imp_data.images.fingerprint import fingerprint_bytes
from imp_data.images.rgb import rgb
from imp_data.images.square import resize_to_square
from imp_data.manifests import Limits
from imp_data.mobile.chat.requests import convert_request
from imp_data.mobile.measure.test_prompts import cases_from_images
from imp_data.screening.decontamination.certificate.alterations import plain_copy
from imp_data.training.evaluation.evaluate import answer_questions
from imp_data.training.evaluation.questions import Question

SIDE = 20


def pixels(image: Image.Image) -> Any:
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("name", FILES)
def test_an_image_becomes_the_rgb_of_its_rule(name: str) -> None:
    data, expected = FILES[name]()
    apart = np.abs(pixels(decode_rgb(data)).astype(int) - expected)
    assert apart.max() <= ("RGBA" in name or name == "LA")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_modes_without_transparency_are_converted_by_pillow(mode: str) -> None:
    image = Image.fromarray(COLOURS).convert(mode)
    assert (pixels(rgb(image)) == pixels(image.convert("RGB"))).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "La", "RGBa"])
def test_transparent_pixels_become_white(mode: str) -> None:
    base = {"PA": "P", "LA": "L", "La": "L"}.get(mode, "RGB")
    image = Image.fromarray(COLOURS).convert(base).convert(mode.upper())
    image.putalpha(0)
    assert (pixels(rgb(image.convert(mode))) == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa"])
def test_opaque_alpha_changes_nothing(mode: str) -> None:
    image = Image.fromarray(COLOURS)
    opaque = image.convert("RGBA" if mode != "PA" else "P").convert(mode)
    plain = image.convert("L") if mode == "LA" else image.convert("P") if mode == "PA" else image
    assert (pixels(rgb(opaque)) == pixels(plain.convert("RGB"))).all()


def test_an_rgb_image_is_returned_itself() -> None:
    image = Image.fromarray(COLOURS)
    assert rgb(image) is image


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_sixteen_bits_keep_their_high_byte(mode: str) -> None:
    order = ">u2" if mode == "I;16B" else "<u2"
    values = np.array([[0, 255, 256, 32_768, 65_535]], order)
    image = Image.frombytes(mode, (5, 1), values.tobytes())
    assert pixels(rgb(image))[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_numbers_without_a_range_are_scaled_by_their_minimum_and_maximum() -> None:
    nan, infinite = float("nan"), float("inf")
    values = np.array([[-1.0, 0.0, 1.0, nan, infinite, -infinite]], np.float32)
    assert pixels(rgb(Image.fromarray(values)))[0, :, 0].tolist() == [0, 127, 255, 0, 255, 0]
    whole = Image.fromarray(np.array([[-100, 0, 100_000]], np.int32))
    assert pixels(rgb(whole))[0, :, 0].tolist() == [0, 0, 255]
    assert (pixels(rgb(Image.fromarray(np.full((2, 2), 7.5, np.float32)))) == 0).all()
    assert (pixels(rgb(Image.fromarray(np.full((2, 2), nan, np.float32)))) == 0).all()


def test_lab_is_converted_by_its_own_profile() -> None:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    image = ImageCms.profileToProfile(Image.fromarray(COLOURS), srgb, lab, outputMode="LAB")
    assert image is not None
    # LAB has 8 bits too, and not all of them are colours of sRGB.
    assert np.abs(pixels(rgb(image)).astype(int) - COLOURS).mean() < 3


def test_an_animated_gif_shows_its_first_frame() -> None:
    first, second = (photo(n, (40, 28)).quantize(32) for n in (1, 2))
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    assert (pixels(decode_rgb(data)) == pixels(first.convert("RGB"))).all()


@pytest.mark.parametrize("white", [0, 1])
def test_a_sixteen_bit_tiff_in_which_zero_is_white_is_inverted(white: int) -> None:
    values = np.array([[0, 256, 65535]], np.uint16)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = white
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF", tiffinfo=tags)
    expected = [[0, 1, 255]] if white else [[255, 254, 0]]
    assert pixels(rgb(Image.open(file)))[:, :, 0].tolist() == expected


def test_a_clear_colour_of_sixteen_bits_is_found_by_its_high_bytes() -> None:
    image = Image.fromarray(np.array([[[9, 8, 7], [1, 2, 3]]], np.uint8))
    image.info["transparency"] = (9 * 257, 8 * 257, 7 * 257)
    assert pixels(rgb(image)).tolist() == [[[255] * 3, [1, 2, 3]]]


def test_bytes_that_are_no_image_raise_with_the_reason() -> None:
    png = encoded(photo(1))
    with pytest.raises(TooManyPixels, match="96x72 is more than 100 pixels"):
        decode_rgb(png, 100)
    with pytest.raises(NoImage, match="no image format"):
        decode_rgb(b"text")
    with pytest.raises(NoImage, match="truncated"):
        decode_rgb(png[:2000])
    with pytest.raises(NoImage, match="no image format"):
        decode_rgb(png, formats=("JPEG",))


def by_dataset(data: bytes, folder: Path) -> Any:
    from imp_data.training.data.dataset import _decode_image

    return resize_to_square(_decode_image(data, "a", "sample 1"), SIDE, "square")


def by_evaluate(data: bytes, folder: Path) -> Any:
    shown: list[Any] = []
    (folder / "a").write_bytes(data)

    def model(image: Image.Image | None, _: str) -> str:
        shown.append(image)
        return "yes"

    answer_questions(model, [Question(1, "a", "What?")], folder)
    return resize_to_square(shown[0], SIDE, "square")


def by_parity(data: bytes, folder: Path) -> Any:
    (folder / "a").write_bytes(data)
    (case,) = cases_from_images([folder / "a"], "What?")
    assert case.image is not None
    return resize_to_square(case.image, SIDE, "square")


def by_runtime(data: bytes, folder: Path) -> Any:
    from imp_data.mobile.runtime.in_process import Runtime

    shown = SimpleNamespace(size=SIDE, bundle=SimpleNamespace(preprocessing="square"))
    with Image.open(io.BytesIO(data)) as image:
        sent = Runtime.file_of(shown, image)  # type: ignore[arg-type]
    return Image.open(io.BytesIO(sent))


def by_augmentation(data: bytes, folder: Path) -> Any:
    return resize_to_square(plain_copy(data), SIDE, "square")


CONSUMERS: dict[str, Callable[[bytes, Path], Any]] = {
    "dataset": by_dataset,
    "evaluate": by_evaluate,
    "parity and quality": by_parity,
    "augmentations": by_augmentation,
}
if importlib.util.find_spec("xllamacpp"):
    CONSUMERS["export"] = by_runtime


@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("name", FILES)
def test_every_consumer_sees_the_same_pixels(name: str, consumer: str, tmp_path: Path) -> None:
    data, _ = FILES[name]()
    if consumer == "export" and name == "a large text chunk":
        data, _ = FILES["RGB"]()  # it is handed opened images, which others have bounded
    expected = resize_to_square(decode_rgb(data), SIDE, "square")
    assert (pixels(CONSUMERS[consumer](data, tmp_path)) == pixels(expected)).all()


@pytest.mark.parametrize("name", FILES)
def test_the_hash_is_that_of_the_rgb(name: str) -> None:
    data, _ = FILES[name]()
    seen, plain = (
        fingerprint_bytes(data, Limits()),
        fingerprint_bytes(encoded(decode_rgb(data)), Limits()),
    )
    assert seen.status == "ok" and seen.phash is not None
    assert seen.phash == plain.phash


CHATTED = [n for n in FILES if not any(word in n for word in ("TIFF", "PGM", "GIF", "CMYK"))]


@pytest.mark.parametrize("name", CHATTED)
def test_the_chat_sends_the_same_pixels(name: str) -> None:
    data, _ = FILES[name]()
    kind = "webp" if "WebP" in name else "png"
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What?"}]
    request = {"messages": [{"role": "user", "content": content}]}
    sent = convert_request(request, lambda image: resize_to_square(image, SIDE, "pad"))
    shown = sent["messages"][0]["content"][0]["image_url"]["url"].partition(",")[2]
    seen = Image.open(io.BytesIO(base64.b64decode(shown)))
    assert (pixels(seen) == pixels(resize_to_square(decode_rgb(data), SIDE, "pad"))).all()


def test_grey_files_of_eight_and_sixteen_bits_have_one_hash() -> None:
    (sixteen, _), eight = FILES["16 bits"](), encoded(Image.fromarray(GREY))
    assert fingerprint_bytes(sixteen, Limits()).phash == fingerprint_bytes(eight, Limits()).phash
    assert (pixels(decode_rgb(eight)) == in_grey(GREY)).all()


ALLOWED = {"images/rgb.py", "images/phash.py"}
# The demo draws its images and damages some of them: there convert makes files, and reads none.
SOURCES = [
    path for path in Path(rgb_rules.__file__).parents[1].rglob("*.py") if path.parent.name != "demo"
]


@pytest.mark.parametrize("called", ["convert", "exif_transpose", "convert_to_rgb"])
def test_no_other_module_converts_to_rgb(called: str) -> None:
    found = {
        path.relative_to(Path(rgb_rules.__file__).parents[1]).as_posix()
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == called
        and not _of_super(node.func.value)
    }
    assert found == (ALLOWED if called == "convert" else set())


def _of_super(node: ast.expr) -> bool:
    """Return whether a method of a base class is called, as a parameter of click's is."""
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    )
