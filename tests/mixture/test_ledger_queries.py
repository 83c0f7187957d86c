"""Ledger queries: the history of one record, and the changes between two builds."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import ALBUM_QUOTAS, ALBUM_RULES, World, record, run

from imp_data.errors import UserError
from imp_data.mixture.ledger_queries import diff, explain
from imp_data.pipeline.build import Build


def lines(folder: Path, identity: str) -> list[str]:
    (history,) = explain(folder, identity)
    return history.lines()


def id_of(folder: Path, source: str, **where: Any) -> str:
    ledger = pl.read_parquet(folder / "ledger.parquet")
    return str(ledger.filter(source=source, **where)["id"][0])


def test_a_kept_record_is_shown_with_its_place_and_text(album: Path) -> None:
    identity = id_of(album, "photos", upstream_id="4")
    (history,) = explain(album, "4")
    assert history.place is not None
    assert history.sample is not None
    assert history.sample["id"] == identity
    assert history.lines() == [
        "photos, row 4 upstream: id '4'",
        f"  became {identity}",
        f"  kept: sample {history.place} of the mixture, photos/4.png",
        "  human: <image>\nWhat is it?",
        "    gpt: Number 4.",
    ]
    assert explain(album, identity) == [history]


def test_a_record_without_an_image_is_text_alone(album: Path) -> None:
    assert lines(album, "t1")[2].endswith("of the mixture, text alone")


def test_a_held_record_is_shown_with_its_reason(album: Path) -> None:
    ledger = pl.read_parquet(album / "ledger.parquet")
    (held,) = ledger.filter(outcome="held")["id"].to_list()
    (history,) = explain(album, held)
    assert (history.sample, history.place) == (None, None)
    assert history.lines()[2] == (
        "  held in stage mixture: over_quota. "
        "The source's quota was full before this record's turn."
    )


def test_a_dropped_record_is_shown_with_its_reason_and_evidence(album: Path) -> None:
    assert lines(album, "t3") == [
        "chats, row 2 upstream: id 't3'",
        "  dropped in stage records: empty_value. A question or an answer is empty.\n    turn: 1",
    ]
    shown = {history.row["reason"]: history.lines()[2] for history in explain(album, "x")}
    pair = shown["benchmark_hash"]
    assert pair.startswith("  dropped in stage screened: benchmark_hash. The image looks like a ")
    for evidence in ("benchmark: quiz", "id: 00000000000000aa", "image: photos/again.jpg"):
        assert f"\n    {evidence}" in pair
    assert shown["image_missing"].endswith("not there.\n    image: photos/missing.png")


def test_a_repaired_record_is_shown_with_the_value_before(album: Path) -> None:
    assert lines(album, "t2")[1] == "  repaired: A first turn by gpt was removed. Before: 'Hello.'"


def test_an_upstream_id_finds_all_its_records(album: Path) -> None:
    histories = explain(album, "x")
    assert [history.row["ordinal"] for history in histories] == [9, 10, 11]
    repeats = explain(album, "3")
    first = id_of(album, "photos", ordinal=3)
    assert [history.row["id"] for history in repeats] == [first, f"{first}~2"]
    assert explain(album, first) == repeats
    assert explain(album, f"{first}~2") == repeats[1:]


def test_questions_on_one_image_share_their_sample(album: Path) -> None:
    identity = id_of(album, "pages")
    histories = explain(album, identity)
    assert [history.row["upstream_id"] for history in histories] == ["10", "11"]
    assert histories[0].sample == histories[1].sample
    assert histories[0].sample is not None


@pytest.mark.parametrize("unknown", ["nobody", "", "~2", "photos", "null"])
def test_an_unknown_id_finds_no_record(unknown: str, album: Path) -> None:
    assert explain(album, unknown) == []


def test_at_most_twenty_histories_are_returned(world: World) -> None:
    world.source("chats", [record("same", answer=f"{n}") for n in range(25)])
    run(world.build({"chats": 25}))
    assert len(explain(world.data.mixture("small"), "same")) == 20


def test_a_folder_without_a_ledger_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ledger\.parquet: is not there"):
        explain(tmp_path, "1")


Change = tuple[str, str, str, int]


def changes(world: World, first: Build, second: Build | None = None) -> list[Change]:
    """Return the differences between two builds: (source, before, after, records)."""
    old = world.data.root.parent / "old"
    if second is not None:
        run(first)
    shutil.copytree(world.data.mixture("small"), old)
    run(second or first)
    table = diff(old, world.data.mixture("small"))
    assert table.columns == ["source", "before", "after", "records", "example"]
    assert diff(world.data.mixture("small"), old).height == table.height
    return [row[:4] for row in table.rows()]


def test_equal_builds_do_not_differ(album: Path) -> None:
    assert diff(album, album).rows() == []


def test_a_smaller_quota_holds_records_back(laid: World) -> None:
    smaller = laid.build({**ALBUM_QUOTAS, "photos": 5}, **ALBUM_RULES)
    (change,) = [c for c in changes(laid, smaller) if c[1] == "kept"]
    assert change == ("photos", "kept", "held: over_quota", 3)


def test_added_and_removed_records_are_absent_in_the_other_build(world: World) -> None:
    world.source("chats", [record("a"), record("b")])
    run(world.build({"chats": 9}))
    world.source("chats", [record("b"), record("c"), record("d", answer=" ")])
    assert changes(world, world.build({"chats": 9})) == [
        ("chats", "absent", "dropped: empty_value", 1),
        ("chats", "absent", "kept", 1),
        ("chats", "kept", "absent", 1),
    ]


def test_another_upstream_order_is_no_change(world: World) -> None:
    records = [*(record(n) for n in range(9)), record(3), "no record", record("x", answer="")]
    world.source("chats", records)
    run(world.build({"chats": 9}))
    world.source("chats", records[::-1])
    assert changes(world, world.build({"chats": 9})) == []


def test_a_record_that_a_changed_rule_keeps_changes_its_outcome(world: World) -> None:
    world.source("chats", [record("short"), record("long", answer="word " * 20)])
    first = world.build({"chats": 9}, limits={"max_characters": 50})
    second = world.build({"chats": 9}, limits={"max_characters": 500})
    assert changes(world, first, second) == [("chats", "dropped: too_long", "kept", 1)]


def test_each_question_of_a_page_changes_its_outcome(laid: World) -> None:
    rule = {**ALBUM_RULES, "limits": {"min_side_px": 90}}
    found = changes(laid, laid.build(ALBUM_QUOTAS, **rule))
    assert ("pages", "kept", "dropped: image_too_small", 2) in found


def test_only_the_exact_repeats_change_their_outcome(world: World) -> None:
    world.source("chats", [record("a"), record("a"), record("a"), record("b")])
    first = world.build({"chats": 9}, exact_repeats="keep")
    second = world.build({"chats": 9}, exact_repeats="drop")
    assert changes(world, first, second) == [("chats", "kept", "dropped: exact_repeat", 2)]


def test_the_records_of_a_removed_source_are_absent(laid: World) -> None:
    rules = {**ALBUM_RULES, "exclusions": []}
    quotas = {s: q for s, q in ALBUM_QUOTAS.items() if s != "captions"}
    found = changes(laid, laid.build(quotas, **rules))
    assert found == [("captions", "dropped: excluded", "absent", 3)]
