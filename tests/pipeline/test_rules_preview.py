"""`imp-data plan MIXTURE --dry` shows what exclusion rules match, and builds nothing."""

from pathlib import Path

import pytest
from conftest import World, encoded, photo, record, run

from imp_data.errors import UserError
from imp_data.pipeline.rules_preview import preview_rules
from imp_data.pipeline.rules_preview_output import preview_json, preview_notices

BECAUSE = "They are not wanted."
REFUSALS = {
    "name": "refusals",
    "because": BECAUSE,
    "text": {"pattern": "(?i)as an ai", "in": "answers"},
}
WIDE = {"name": "wide", "because": BECAUSE, "image_size": {"max_aspect": 2}}


@pytest.fixture
def chats(world: World) -> World:
    answers = [f"As an AI, I am number {n}." for n in range(30)] + ["Blue."] * 12
    world.source("chats", [record(n, None, answer) for n, answer in enumerate(answers)])
    return world


def files_below(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def test_a_preview_counts_matches_and_shows_twenty_examples_without_a_build(chats: World) -> None:
    build = chats.build({"chats": 9}, exclusions=[REFUSALS])
    before = files_below(chats.data.root)
    found = preview_json(preview_rules(build))
    assert files_below(chats.data.root) == before
    assert (found["samples"], found["matched"], found["absent"]) == (42, 30, {})
    (rule,) = found["rules"]
    assert (rule["name"], rule["matched"]) == ("refusals", 30)
    counts = {"source": "chats", "subset": "", "matched": 30, "samples": 42}
    assert rule["by_subset"] == [counts]
    assert len(rule["examples"]) == 20
    first = rule["examples"][0]
    assert first["excerpt"].startswith("«As an AI», I am number ")
    assert first["evidence"] == {"pattern": "(?i)as an ai", "found": "As an AI"}


def test_a_preview_matches_what_a_build_drops(chats: World) -> None:
    build = chats.build({"chats": 99}, exclusions=[REFUSALS])
    run(build)
    found = preview_rules(build)
    dropped = build.figures("screened/chats")["dropped"]
    assert (
        dropped == {"excluded_by_text": found.rules[0].counts.total()} == {"excluded_by_text": 30}
    )


def test_rules_on_images_use_the_fingerprints_of_the_last_build(world: World) -> None:
    sizes = {0: (96, 30)}
    files = {f"{n}.png": encoded(photo(n, sizes.get(n, (96, 72)))) for n in range(3)}
    world.images("photos", files, path="photos")
    world.source("photos", [record(n, f"photos/{n}.png") for n in range(3)], images=["photos"])
    build = world.build({"photos": 9}, exclusions=[WIDE])
    notices = list(preview_notices(preview_rules(build)))
    assert notices == ["not covered: wide: 3 samples of photos, whose images no build has read"]
    run(world.build({"photos": 9}))
    found = preview_json(preview_rules(build))
    (rule,) = found["rules"]
    assert rule["images_unknown"] == {}
    assert [one["evidence"] for one in rule["examples"]] == [{"size": [96, 30], "max_aspect": 2.0}]


def test_a_source_without_files_is_named_and_the_others_are_shown(chats: World) -> None:
    chats.source("letters", [record(1)])
    for file in chats.data.raw("letters").iterdir():
        file.unlink()
    chats.data.raw("letters").rmdir()
    found = preview_rules(chats.build({"chats": 9, "letters": 9}, exclusions=[REFUSALS]))
    assert found.matched == 30
    (notice,) = preview_notices(found)
    assert notice.startswith("not covered: letters: ") and "its files are not there" in notice


def test_a_missing_list_is_an_error_and_not_a_gap(chats: World) -> None:
    rule = {"name": "some", "because": BECAUSE, "listed": {"file": "none.txt"}}
    with pytest.raises(UserError, match="none"):
        preview_rules(chats.build({"chats": 9}, exclusions=[rule]))
