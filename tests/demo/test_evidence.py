"""Does the demo's model see? Cards it never saw, asked of with the image and with grey."""

import json
import os
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import pytest

from demo.drawing.ink import COLOURS
from demo.evidence import gather
from demo.held_out import held_out
from demo.sources.cards import COUNT, WORDS, card, card_file
from imp_data.manifests import load_recipe
from imp_data.pipeline.build import Build
from imp_data.pipeline.run_all import rebuild
from imp_data.storage.data_dir import DataDir
from imp_data.training.plan import Plan, command_line

DEMO = Path(__file__).parents[2] / "manifests" / "mixtures" / "demo.yaml"
WITH_TORCH = pytest.mark.skipif(not find_spec("torch"), reason="pip install 'imp-data[train]'")


def questions(folder: Path) -> list[dict[str, str]]:
    held_out(folder)
    lines = (folder / "questions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_held_out_questions_are_on_images_that_nothing_was_trained_on(tmp_path: Path) -> None:
    images = held_out(tmp_path)
    assert len(images) == 72
    trained_on = {sha256(card_file(card("cards", n))).digest() for n in range(COUNT)}
    assert not trained_on & {sha256(p.read_bytes()).digest() for p in images}


def test_a_question_does_not_tell_its_answer(tmp_path: Path) -> None:
    rows = questions(tmp_path)
    assert Counter(row["category"] for row in rows) == {"colour": 96, "count": 48, "word": 24}
    answers = {*COLOURS, *WORDS, *"1234"}
    for row in rows:
        assert row["answer"] in answers
        assert row["answer"] not in row["text"].lower().replace("?", " ").split()


def test_who_does_not_see_is_right_no_oftener_than_by_chance(tmp_path: Path) -> None:
    """The best that any answers can come to that depend on the question's text alone."""
    answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in questions(tmp_path):
        answers[row["category"], row["text"]][row["answer"]] += 1
    most: Counter[str] = Counter()
    for (kind, _), found in answers.items():
        most[kind] += max(found.values())
    assert most == {"colour": 12, "count": 12, "word": 4}


def test_no_question_on_a_card_tells_how_many_things_there_are() -> None:
    """Not in the lesson either, where one question is asked in the hearing of another."""
    asked: dict[str, set[str]] = defaultdict(set)
    for number in range(COUNT):
        exchanges = dict(one.exchange for one in card("cards", number).asked)
        many = [answer for question, answer in exchanges.items() if "How many" in question]
        for answer in many:
            asked[answer] |= set(exchanges)
    assert set(asked) == {*"1234"}
    assert all(texts == asked["1"] for texts in asked.values())


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Plan]:
    """The demo with its mixtures built: in IMP_DEMO, where a finished one is not trained again."""
    build = Build(load_recipe(DEMO), DataDir(Path(os.environ.get("IMP_DEMO") or tmp_path)))
    found = Plan.of(build)
    assert found
    for each in (build, *found.other_mixtures):
        rebuild(each)
    yield found


def run(words: Sequence[str]) -> None:
    subprocess.run(command_line(words), check=True, capture_output=True, timeout=1800)


@WITH_TORCH
@pytest.mark.slow
def test_the_demos_model_learns_to_see(plan: Plan) -> None:
    """Both stages as the manifest has them: some three minutes on two cores."""
    for name, _ in plan.model.planned:
        plan.train(name, run)
    plan.merge(run)
    found = {row["question"]: row for row in gather(plan, run).figures["kinds"]}
    assert found["colour"]["seeing"] > 80 > 40 > found["colour"]["blind"]
    assert found["count"]["seeing"] > 50 > 40 > found["count"]["blind"]
    assert found["word"]["seeing"] > 60 > 30 > found["word"]["blind"]
    assert all(row["seeing"] > row["blind"] + 30 for row in found.values())
