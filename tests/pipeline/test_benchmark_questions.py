"""A benchmark's questions are reported or dropped in a build, and counted in the card."""

import json
from typing import Any

import polars as pl
import pytest
from conftest import World, encoded, photo, run

from imp_data.audit.benchmarks import find_questions
from imp_data.errors import UserError
from imp_data.mixture.card import render_card
from imp_data.mixture.mixture_json import read_manifest
from imp_data.pipeline.build import Build

ID = "00000000000000a1"
SPECIFIC = "What is the price difference between diesel and regular gasoline?"
QUIZ = [
    {"question_id": "q1", "image_id": ID, "question": "What color is it?", "answers": ["red"]},
    {"question_id": "q2", "image_id": ID, "question": SPECIFIC, "answers": ["ten cents"]},
]


def exchange(identity: str, image: str, question: str, answer: str) -> dict[str, Any]:
    turns = [("human", f"<image>\n{question}"), ("gpt", answer)]
    conversations = [{"from": speaker, "value": text} for speaker, text in turns]
    return {"id": identity, "image": image, "conversations": conversations}


RECORDS = [
    exchange("shown", f"photos/{ID}.png", "What color is it?", "Blue."),
    exchange("copied", "photos/copy.png", "What color is it?", "Blue."),
    exchange("alike", "photos/copy.png", "Who is it?", "Nobody."),
    exchange("asked", "photos/1.png", SPECIFIC, "None."),
    exchange("answered", "photos/2.png", SPECIFIC, "Ten cents."),
    exchange("other", "photos/3.png", "What color is it?", "Red."),
]


def quiz(world: World, policy: dict[str, str] | None = None, **fields: Any) -> Build:
    """A benchmark with two questions on an image, and six records, two of them of its image."""
    world.benchmark(
        "quiz",
        [],
        files=[{"path": name, "by_hand": "put it there"} for name in ("ids.json", "q.json")],
        id_files=["ids.json"],
        questions={"files": ["q.json"], **fields},
    )
    world.file("quiz", "ids.json", json.dumps({"data": [{"image_id": ID}]}).encode())
    world.file("quiz", "q.json", json.dumps({"data": QUIZ}).encode())
    world.images("quiz", {f"{ID}.png": encoded(photo(0))})
    world.source("chats", RECORDS, images=["photos"])
    shown = {"copy.png": encoded(photo(0), "PNG", compress_level=1)}
    shown |= {f"{n}.png": encoded(photo(n)) for n in (1, 2, 3)}
    world.images("photos", shown, path="photos")
    return mixture(world, policy)


def mixture(world: World, policy: dict[str, str] | None = None) -> Build:
    rule = {"benchmark": "quiz", "max_distance_bits": 10, "altered_images": 0}
    stated = {**rule, **({"policy": policy} if policy else {})}
    return world.build({"chats": 9}, decontaminate=[stated])


def ledger(build: Build) -> dict[str, tuple[str, str | None, dict[str, Any]]]:
    rows = pl.read_parquet(build.data.mixture("small") / "ledger.parquet").to_dicts()
    return {
        row["upstream_id"]: (row["outcome"], row["reason"], json.loads(row["evidence"] or "{}"))
        for row in rows
    }


GENERIC = {"id": "q1", "rule": "question", "generic": True}


def test_questions_are_reported_and_stand_beside_the_image_in_the_ledger(world: World) -> None:
    build = quiz(world)
    run(build)
    found = ledger(build)
    assert found["shown"] == (
        *("dropped", "benchmark_id"),
        {"benchmark": "quiz", "id": ID, "question": GENERIC},
    )
    outcome, reason, evidence = found["copied"]
    assert (outcome, reason, evidence["question"]) == ("dropped", "benchmark_hash", GENERIC)
    assert found["alike"][:2] == ("dropped", "benchmark_hash")
    assert "question" not in found["alike"][2]
    reported = {"benchmark": "quiz", "id": "q2", "rule": "question"}
    assert found["asked"] == ("kept", None, {"reported": [reported]})
    answered = {**reported, "rule": "question_and_answer"}
    assert found["answered"] == ("kept", None, {"reported": [answered]})
    assert found["other"] == ("kept", None, {})


def test_the_card_and_mixture_json_count_what_is_seen(world: World) -> None:
    build = quiz(world)
    run(build)
    folder = build.data.mixture("small")
    [benchmark] = read_manifest(folder)["benchmarks"]
    counts = {
        name: (seen["policy"], seen["samples"], seen["kept"], seen["by_source"])
        for name, seen in benchmark["questions"]["seen"].items()
    }
    assert counts == {
        "image_and_question": ("drop", 2, 0, {}),
        "image": ("drop", 1, 0, {}),
        "answer": ("report", 1, 1, {"chats": 1}),
        "question": ("report", 1, 1, {"chats": 1}),
    }
    assert benchmark["questions"]["questions"] == 2
    card = render_card(folder)
    assert "### Questions of quiz" in card
    assert "| answer | report | 1 | 1 (chats 1) |" in card


def test_a_policy_drops_questions_with_their_evidence(world: World) -> None:
    build = quiz(world, {"question": "drop", "answer": "drop"})
    run(build)
    found = ledger(build)
    evidence = {"benchmark": "quiz", "id": "q2"}
    assert found["asked"] == (
        *("dropped", "benchmark_question"),
        {**evidence, "rule": "question"},
    )
    assert found["answered"] == (
        *("dropped", "benchmark_answer"),
        {**evidence, "rule": "question_and_answer"},
    )
    assert found["other"][0] == "kept"


def test_another_policy_screens_again_without_another_pack(world: World) -> None:
    build = quiz(world)
    run(build)
    assert not [name for name, result in run(build).items() if result.built]
    stricter = mixture(world, {"question": "drop"})
    again = {name for name, result in run(stricter).items() if result.built}
    assert "screened/chats" in again
    assert not again & {"raw/quiz", "benchmarks/quiz", "records/chats"}
    assert ledger(stricter)["asked"][:2] == ("dropped", "benchmark_question")


def test_a_column_that_is_absent_is_an_error_that_names_it(world: World) -> None:
    build = quiz(world, columns={"question": "frage"})
    build.raw("quiz")
    with pytest.raises(UserError, match="frage"):
        build.benchmark("quiz")


def test_the_files_of_questions_are_among_the_files(world: World) -> None:
    with pytest.raises(UserError, match=r"questions\.files: other\.json is not among `files`"):
        quiz(world, files=["other.json"])


def test_an_audit_finds_the_questions_of_a_data_directory(world: World) -> None:
    build = quiz(world)
    build.raw("quiz")
    build.benchmark("quiz")
    found = find_questions([], [build.data.root])
    assert found is not None
    assert found.packs.files == (build.data.question_pack("quiz"),)
    assert [*found.policies] == ["quiz"]
    assert find_questions([], []) is None
