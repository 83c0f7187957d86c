"""Held-out questions do not reveal their answers, and the demo's model learns to use images."""

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
from demo.held_out import write_held_out
from demo.sources.cards import COUNT, WORDS, card, card_file
from imp_data.manifests import load_recipe
from imp_data.pipeline.build import Build
from imp_data.pipeline.run_all import rebuild
from imp_data.storage.data_dir import DataDir
from imp_data.training.plan import Plan, command_line

DEMO = Path(__file__).parents[2] / "manifests" / "mixtures" / "demo.yaml"
WITH_TORCH = pytest.mark.skipif(not find_spec("torch"), reason="pip install 'imp-data[train]'")


def questions(folder: Path) -> list[dict[str, str]]:
    write_held_out(folder)
    lines = (folder / "questions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_held_out_images_are_not_in_the_training_cards(tmp_path: Path) -> None:
    images = write_held_out(tmp_path)
    assert len(images) == 72
    trained_on = {sha256(card_file(card("cards", n))).digest() for n in range(COUNT)}
    assert not trained_on & {sha256(p.read_bytes()).digest() for p in images}


def test_a_question_does_not_contain_its_answer(tmp_path: Path) -> None:
    rows = questions(tmp_path)
    assert Counter(row["category"] for row in rows) == {"colour": 96, "count": 48, "word": 24}
    answers = {*COLOURS, *WORDS, *"1234"}
    for row in rows:
        assert row["answer"] in answers
        assert row["answer"] not in row["text"].lower().replace("?", " ").split()


def test_answers_without_the_image_are_right_no_more_often_than_by_chance(tmp_path: Path) -> None:
    """Count the best score that answers from the text of the question alone can reach."""
    answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in questions(tmp_path):
        answers[row["category"], row["text"]][row["answer"]] += 1
    most: Counter[str] = Counter()
    for (kind, _), found in answers.items():
        most[kind] += max(found.values())
    assert most == {"colour": 12, "count": 12, "word": 4}


def test_no_question_on_a_card_reveals_the_number_of_things() -> None:
    """In training, one question of a conversation could reveal the answer to another."""
    asked: dict[str, set[str]] = defaultdict(set)
    for number in range(COUNT):
        exchanges = dict(one.exchange for one in card("cards", number).questions)
        many = [answer for question, answer in exchanges.items() if "How many" in question]
        for answer in many:
            asked[answer] |= set(exchanges)
    assert set(asked) == {*"1234"}
    assert all(texts == asked["1"] for texts in asked.values())


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Plan]:
    """Build the demo's mixtures, in IMP_DEMO if set: a model already trained there is reused."""
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
def test_the_demo_model_learns_to_use_images(plan: Plan) -> None:
    """Train both stages of the manifest, in about three minutes on two cores."""
    for name, _ in plan.model.planned:
        plan.train(name, run)
    plan.merge(run)
    found = {row["question"]: row for row in gather(plan, run).figures["kinds"]}
    assert found["colour"]["seeing"] > 80 > 40 > found["colour"]["blind"]
    assert found["count"]["seeing"] > 50 > 40 > found["count"]["blind"]
    assert found["word"]["seeing"] > 60 > 30 > found["word"]["blind"]
    assert all(row["seeing"] > row["blind"] + 30 for row in found.values())
