"""Names of the previous release are still read, with one warning each."""

from pathlib import Path

import pytest
from conftest import World, encoded, record
from PIL import Image

from imp_data.errors import UserError
from imp_data.manifests import earlier_names, load_recipe
from imp_data.manifests.base import spot_of


@pytest.fixture(autouse=True)
def no_earlier_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier_names, "_warned", set())


@pytest.fixture
def mixture(world: World) -> Path:
    """The manifest of a mixture with a source, its images, and a benchmark to keep out."""
    world.source("birds", [record(1, "owls/1.png")], images=["owls"])
    world.images("owls", {"1.png": encoded(Image.new("RGB", (8, 8)))})
    world.benchmark("quiz", ["0" * 16], images=["owls"])
    kept_out = [{"benchmark": "quiz", "max_distance_bits": 10, "altered_images": 3}]
    world.build({"birds": 1}, images="required", decontaminate=kept_out)
    return world.manifests / "mixtures" / "small.yaml"


def reword(path: Path, present: str, earlier: str) -> None:
    text = path.read_text()
    assert present in text
    path.write_text(text.replace(present, earlier))


def test_an_earlier_field_name_is_read_with_a_warning(
    world: World, mixture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_recipe(mixture)
    reword(mixture, "images: required", "pictures: required")
    reword(mixture, "altered_images", "altered_pictures")
    reword(world.manifests / "sources/birds.yaml", "images:", "pictures:")
    quiz = world.manifests / "benchmarks/quiz.yaml"
    reword(quiz, "image_paths:", "picture_paths:")
    reword(quiz, "\nimages:", "\npictures:")
    capsys.readouterr()
    assert load_recipe(mixture) == before
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 5
    spot = spot_of(quiz, "image_paths")
    assert (
        f"{quiz}: {spot}, picture_paths: this field is now called `image_paths`; rename it"
        in warnings
    )
    load_recipe(mixture)
    assert capsys.readouterr().err == "", "warned only once"


def test_an_earlier_directory_name_is_read_with_a_warning(
    world: World, mixture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_recipe(mixture)
    (world.manifests / "images").rename(world.manifests / "pictures")
    assert load_recipe(mixture) == before
    warning = f"{world.manifests}/pictures: this directory is now called images; rename it\n"
    assert capsys.readouterr().err == warning


def test_both_names_at_once_are_an_error(world: World, mixture: Path) -> None:
    birds = world.manifests / "sources/birds.yaml"
    birds.write_text(birds.read_text() + "pictures: [owls]\n")
    with pytest.raises(UserError) as raised:
        load_recipe(mixture)
    assert raised.value.problem.endswith("is the earlier name of `images`, which is present too")
    assert raised.value.remedy == "keep `images`"


def test_a_subset_may_be_called_pictures(
    world: World, mixture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    birds = world.manifests / "sources/birds.yaml"
    birds.write_text(birds.read_text() + "expect: {rows: 1, subsets: {pictures: 1}}\n")
    assert load_recipe(mixture).expect("birds").subsets == {"pictures": 1}
    assert capsys.readouterr().err == ""
