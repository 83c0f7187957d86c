"""The duplicates report beside a mixture: when it is made, and its content."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import World, built, encoded, photo, record, run

from imp_data.errors import UserError
from imp_data.mixture.card import is_card
from imp_data.mixture.duplicates.report import (
    load_or_make_report,
    read_report,
    report_markdown,
    report_sections,
)
from imp_data.mixture.verify import verify
from imp_data.storage.digests import tree_digest

QUOTAS = {"ours": 4, "theirs": 4}


@pytest.fixture
def conflicting(world: World) -> World:
    """Two sources with conflicting answers on one image, and a recompressed copy of another."""
    images = {"1.png": encoded(photo(1)), "2.png": encoded(photo(2))}
    images["2.jpg"] = encoded(photo(2), "JPEG", quality=60)
    world.images("photos", images, path="photos")
    ours = [record("a", "photos/1.png", "A cat."), record("b", "photos/2.png", "A tree | a bush")]
    world.source("ours", ours, images=["photos"])
    theirs = [record("c", "photos/1.png", "A dog."), record("d", "photos/2.jpg", "A thing.")]
    world.source("theirs", theirs, images=["photos"])
    return world


def built_report(world: World, **fields: Any) -> dict[str, Any]:
    run(world.build(QUOTAS, **fields))
    return read_report(world.data.reports("small"))


def ids(found: dict[str, Any]) -> dict[str, list[str]]:
    """Return the answers of the one conflict, each with the sources of its samples."""
    (conflict,) = found["contradictions"]["listed"]
    return {answer: [i.split("/")[0] for i in some] for answer, some in conflict["answers"].items()}


def test_it_counts_clusters_by_size_and_names_the_conflicting_samples(conflicting: World) -> None:
    found = built_report(conflicting, near_duplicates={"max_distance_bits": 6})
    assert found["alike"]["by_size"] == [{"images": 2, "clusters": 1}]
    assert found["alike"]["shared"] == found["same_image"]["shared"] == 1
    assert ids(found) == {"cat": ["ours"], "dog": ["theirs"]}
    assert found["not_checked"] == []
    assert (found["samples"], found["images"]) == (4, 3)


def test_the_markdown_page_has_the_same_content_in_valid_tables(conflicting: World) -> None:
    found = built_report(conflicting, near_duplicates={"max_distance_bits": 6})
    page = (conflicting.data.reports("small") / "duplicates.md").read_text()
    assert page == report_markdown(found)
    assert "1 image shared by sources, 1 cluster of near-duplicates, 1 question with" in page
    for section in report_sections(found):
        assert {len(row) for row in section.rows} <= {len(section.header)}
    bars = [line.count("|") for line in page.splitlines() if line.startswith("|")]
    assert set(bars) == {3}


def test_a_bar_in_a_text_does_not_break_a_table(conflicting: World) -> None:
    found = built_report(conflicting, near_duplicates={"max_answer_words": 9})
    (conflict,) = found["contradictions"]["listed"]
    conflict["question"] = "this | or\nthat"
    assert "this &#124; or that" in report_markdown(found)


def test_another_policy_makes_only_a_new_report(conflicting: World) -> None:
    built_report(conflicting)
    assert built(run(conflicting.build(QUOTAS))) == set()
    stricter = {"near_duplicates": {"max_distance_bits": 0, "listed": 0}}
    assert built(run(conflicting.build(QUOTAS, **stricter))) == {"duplicates", "card"}
    found = read_report(conflicting.data.reports("small"))
    assert found["contradictions"]["questions"] == 1 and not found["contradictions"]["listed"]


def test_the_policy_ignore_makes_no_report_and_no_section_in_the_card(conflicting: World) -> None:
    results = run(conflicting.build(QUOTAS, near_duplicates={"policy": "ignore"}))
    assert "duplicates" not in results
    assert not conflicting.data.reports("small").exists()
    folder = conflicting.data.mixture("small")
    assert "Near-duplicates and" not in (folder / "README.md").read_text()
    assert verify(folder) == []


def test_with_deferred_images_it_states_what_is_not_known(conflicting: World) -> None:
    found = built_report(conflicting, images="deferred")
    assert found["not_checked"] == [
        "Images were deferred, so identical images are recognized by their paths alone.",
        "Near-duplicate images are not known: there are no fingerprints.",
    ]
    assert ids(found) == {"cat": ["ours"], "dog": ["theirs"]}
    card = (
        (conflicting.data.mixture("small") / "README.md")
        .read_text()
        .split("## Near-duplicates and")[1]
    )
    assert "near-duplicate images are not known" in card
    assert "clusters" not in card and "| 1 |" in card
    assert verify(conflicting.data.mixture("small")) == []


def test_an_altered_count_in_the_card_is_found(conflicting: World) -> None:
    built_report(conflicting)
    folder = conflicting.data.mixture("small")
    card = (folder / "README.md").read_text()
    assert is_card(card, folder)
    assert not is_card(card.replace("| 1 |", "| 0 |"), folder)
    (folder / "README.md").write_text(card.replace("| 1 |", "| 0 |"))
    assert verify(folder) == ["README.md: is not the card of this mixture.json"]


def test_it_is_the_same_on_any_number_of_workers(
    conflicting: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    built_report(conflicting, shard_rows=1)
    before = tree_digest(conflicting.data.reports("small"))
    shutil.rmtree(conflicting.data.reports("small"))
    monkeypatch.setenv("IMP_WORKERS", "2")
    assert built(run(conflicting.build(QUOTAS, shard_rows=1))) == {"duplicates"}
    assert tree_digest(conflicting.data.reports("small")) == before


def test_a_report_of_another_mixture_is_not_returned(conflicting: World) -> None:
    built_report(conflicting)
    path = conflicting.data.reports("small") / "duplicates.json"
    path.write_text(path.read_text().replace(read_report(path.parent)["digest"], "0" * 64))
    found = load_or_make_report(conflicting.data.mixture("small"), [])
    assert found["not_checked"] == [
        "Near-duplicate images are not known: there are no fingerprints."
    ]


def test_a_mixture_copied_elsewhere_gets_a_new_report(conflicting: World, tmp_path: Path) -> None:
    known = built_report(conflicting)
    folder = shutil.copytree(conflicting.data.mixture("small"), tmp_path / "far" / "away" / "m")
    alone = load_or_make_report(folder, [])
    assert ids(alone) == ids(known) and alone["alike"]["clusters"] == 0
    files = [conflicting.data.fingerprints("small", source) for source in QUOTAS]
    assert load_or_make_report(folder, files) == known
    with pytest.raises(UserError, match=r"holds no mixture\.json"):
        load_or_make_report(tmp_path, [])


@pytest.mark.parametrize("name", ["mixture.json", "state.json", "data-00000-of-00001.arrow"])
def test_a_damaged_mixture_is_named(name: str, conflicting: World, tmp_path: Path) -> None:
    built_report(conflicting)
    folder = shutil.copytree(conflicting.data.mixture("small"), tmp_path / "far" / "away" / "m")
    for damaged in (b"spoilt", b"[]", b""):
        (folder / name).write_bytes(damaged)
        with pytest.raises(UserError) as error:
            load_or_make_report(folder, [])
        assert str(folder) in error.value.where


def test_a_report_stored_under_its_earlier_name_is_made_again(conflicting: World) -> None:
    known = built_report(conflicting)
    reports, stamps = conflicting.data.reports("small"), "mixtures/small/"
    for suffix in ("json", "md"):
        (reports / f"duplicates.{suffix}").rename(reports / f"neighbours.{suffix}")
    new = conflicting.data.stamp(f"{stamps}duplicates")
    new.rename(conflicting.data.stamp(f"{stamps}neighbours"))
    assert built(run(conflicting.build(QUOTAS))) == {"duplicates"}
    assert read_report(reports) == known
