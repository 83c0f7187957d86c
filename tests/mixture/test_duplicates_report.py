"""The report beside a mixture: when it is made, what it tells, and to whom."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import World, built, encoded, photo, record, run

from imp_data.errors import UserError
from imp_data.mixture.card import is_card
from imp_data.mixture.duplicates.report import markdown, neighbours, sections, stored
from imp_data.mixture.verify import verify
from imp_data.storage.digests import tree_digest

QUOTAS = {"ours": 4, "theirs": 4}


@pytest.fixture
def told(world: World) -> World:
    """Two sources on one image who disagree, and an image that one of them has saved again."""
    shown = {"1.png": encoded(photo(1)), "2.png": encoded(photo(2))}
    shown["2.jpg"] = encoded(photo(2), "JPEG", quality=60)
    world.images("photos", shown, path="photos")
    ours = [record("a", "photos/1.png", "A cat."), record("b", "photos/2.png", "A tree | a bush")]
    world.source("ours", ours, images=["photos"])
    theirs = [record("c", "photos/1.png", "A dog."), record("d", "photos/2.jpg", "A thing.")]
    world.source("theirs", theirs, images=["photos"])
    return world


def built_report(world: World, **fields: Any) -> dict[str, Any]:
    run(world.build(QUOTAS, **fields))
    return stored(world.data.reports("small"))


def ids(found: dict[str, Any]) -> dict[str, list[str]]:
    """The one contradiction's answers, each with the sources of its samples."""
    (conflict,) = found["contradictions"]["listed"]
    return {answer: [i.split("/")[0] for i in some] for answer, some in conflict["answers"].items()}


def test_it_names_clusters_by_size_and_the_samples_that_disagree(told: World) -> None:
    found = built_report(told, near_duplicates={"max_distance_bits": 6})
    assert found["alike"]["by_size"] == [{"images": 2, "clusters": 1}]
    assert found["alike"]["shared"] == found["same_image"]["shared"] == 1
    assert ids(found) == {"cat": ["ours"], "dog": ["theirs"]}
    assert found["not_checked"] == []
    assert (found["samples"], found["images"]) == (4, 3)


def test_as_a_page_it_has_the_same_and_its_tables_hold(told: World) -> None:
    found = built_report(told, near_duplicates={"max_distance_bits": 6})
    page = (told.data.reports("small") / "neighbours.md").read_text()
    assert page == markdown(found)
    assert "1 image shared by sources, 1 cluster of look-alikes, 1 question answered" in page
    for section in sections(found):
        assert {len(row) for row in section.rows} <= {len(section.header)}
    bars = [line.count("|") for line in page.splitlines() if line.startswith("|")]
    assert set(bars) == {3}


def test_a_bar_in_a_text_does_not_break_the_page(told: World) -> None:
    found = built_report(told, near_duplicates={"max_answer_words": 9})
    (conflict,) = found["contradictions"]["listed"]
    conflict["question"] = "this | or\nthat"
    assert "this &#124; or that" in markdown(found)


def test_another_policy_makes_only_the_report_anew(told: World) -> None:
    built_report(told)
    assert built(run(told.build(QUOTAS))) == set()
    stricter = {"near_duplicates": {"max_distance_bits": 0, "listed": 0}}
    assert built(run(told.build(QUOTAS, **stricter))) == {"neighbours", "card"}
    found = stored(told.data.reports("small"))
    assert found["contradictions"]["questions"] == 1 and not found["contradictions"]["listed"]


def test_to_ignore_them_leaves_no_asset_and_no_word_in_the_card(told: World) -> None:
    results = run(told.build(QUOTAS, near_duplicates={"policy": "ignore"}))
    assert "neighbours" not in results
    assert not told.data.reports("small").exists()
    folder = told.data.mixture("small")
    assert "Said twice" not in (folder / "README.md").read_text()
    assert verify(folder) == []


def test_where_images_are_deferred_it_says_what_is_not_known(told: World) -> None:
    found = built_report(told, images="deferred")
    assert found["not_checked"] == [
        "Images were deferred, so the same image is told by its path alone.",
        "Which images look alike is not known, for want of their fingerprints.",
    ]
    assert ids(found) == {"cat": ["ours"], "dog": ["theirs"]}
    card = (told.data.mixture("small") / "README.md").read_text().split("## Said twice")[1]
    assert "which of them look alike is not known" in card
    assert "clusters" not in card and "| 1 |" in card
    assert verify(told.data.mixture("small")) == []


def test_the_card_s_counts_cannot_be_altered_unseen(told: World) -> None:
    built_report(told)
    folder = told.data.mixture("small")
    card = (folder / "README.md").read_text()
    assert is_card(card, folder)
    assert not is_card(card.replace("| 1 |", "| 0 |"), folder)
    (folder / "README.md").write_text(card.replace("| 1 |", "| 0 |"))
    assert verify(folder) == ["README.md: is not the card that mixture.json gives"]


def test_it_is_the_same_on_any_number_of_workers(
    told: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    built_report(told, shard_rows=1)
    before = tree_digest(told.data.reports("small"))
    shutil.rmtree(told.data.reports("small"))
    monkeypatch.setenv("IMP_WORKERS", "2")
    assert built(run(told.build(QUOTAS, shard_rows=1))) == {"neighbours"}
    assert tree_digest(told.data.reports("small")) == before


def test_a_report_of_another_mixture_is_not_taken_for_this_one_s(told: World) -> None:
    built_report(told)
    path = told.data.reports("small") / "neighbours.json"
    path.write_text(path.read_text().replace(stored(path.parent)["digest"], "0" * 64))
    found = neighbours(told.data.mixture("small"), [])
    assert found["not_checked"] == [
        "Which images look alike is not known, for want of their fingerprints."
    ]


def test_of_a_mixture_that_is_elsewhere_it_is_made_when_asked_for(
    told: World, tmp_path: Path
) -> None:
    known = built_report(told)
    folder = shutil.copytree(told.data.mixture("small"), tmp_path / "far" / "away" / "m")
    alone = neighbours(folder, [])
    assert ids(alone) == ids(known) and alone["alike"]["clusters"] == 0
    files = [told.data.fingerprints("small", source) for source in QUOTAS]
    assert neighbours(folder, files) == known
    with pytest.raises(UserError, match=r"holds no mixture\.json"):
        neighbours(tmp_path, [])


@pytest.mark.parametrize("name", ["mixture.json", "state.json", "data-00000-of-00001.arrow"])
def test_a_mixture_that_is_damaged_is_named(name: str, told: World, tmp_path: Path) -> None:
    built_report(told)
    folder = shutil.copytree(told.data.mixture("small"), tmp_path / "far" / "away" / "m")
    for damaged in (b"spoilt", b"[]", b""):
        (folder / name).write_bytes(damaged)
        with pytest.raises(UserError) as error:
            neighbours(folder, [])
        assert str(folder) in error.value.where
