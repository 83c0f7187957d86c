"""A mixture of an earlier release, with its own card and names of fields, verifies as sound."""

import shutil
from pathlib import Path

import pytest

from imp_data.mixture.card import is_card, render_card
from imp_data.mixture.mixture_json import read_manifest
from imp_data.mixture.verify import has_earlier_card, verify

# Built by the earlier release: five sources with dropped and repaired records, and a benchmark.
EARLIER = Path(__file__).parent / "earlier_release"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(EARLIER, tmp_path / "m")


def test_a_mixture_of_an_earlier_release_is_sound(album: Path) -> None:
    assert '"pictures":' in (EARLIER / "mixture.json").read_text()
    assert verify(EARLIER) == []
    assert has_earlier_card(EARLIER) and not has_earlier_card(album)


def test_fields_of_an_earlier_release_have_their_present_names() -> None:
    manifest = read_manifest(EARLIER)
    (benchmark,) = manifest["benchmarks"]
    assert (manifest["images"], benchmark["altered_images"]) == ("required", 100)
    assert "pictures" not in manifest


def test_a_present_card_of_an_earlier_mixture_is_accepted_too(copy: Path) -> None:
    (copy / "README.md").write_text(render_card(copy))
    assert verify(copy) == [] and not has_earlier_card(copy)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("num_examples: 12", "num_examples: 13"),
        ("rows read, 13 went", "rows read, 14 went"),
        ("| photos | 12 | 8 |", "| photos | 12 | 9 |"),
        ("| **21** | **21** | **12** |", "| **21** | **21** | **13** |"),
        ("| `wrong_type` |", "| `no_turns` |"),
        ("CC-BY-4.0", "CC0-1.0"),
        ("3 records. They are not wanted.", "4 records. They are not wanted."),
        ("| questions on one picture", "| more questions on one picture"),
        ("| pages | 2 | 2 | 0 | 0 | 1 |\n", ""),
        ("---\npretty_name", "pretty_name"),
    ],
)
def test_an_altered_figure_in_an_earlier_card_is_found(old: str, new: str, copy: Path) -> None:
    card = (copy / "README.md").read_text()
    assert old in card
    (copy / "README.md").write_text(card.replace(old, new))

    assert verify(copy) == ["README.md: is not the card of this mixture.json"]


def test_the_digest_in_an_earlier_card_is_that_of_the_mixture(copy: Path) -> None:
    digest = read_manifest(copy)["digest"]
    card = (copy / "README.md").read_text()
    assert is_card(card, copy)
    assert not is_card(card.replace(digest, digest[::-1]), copy)
