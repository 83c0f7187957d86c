"""The held-out evaluation rejects images that are in a training mixture."""

from collections.abc import Sequence
from importlib.util import find_spec

import pytest
from conftest import World, run
from training_world import manifest

from demo.evidence import gather
from demo.sources.cards import Card, card, card_file, held_out_card
from imp_data.errors import UserError
from imp_data.storage.stage_cache import digest_of_files, write_stamp
from imp_data.training.plan import Plan

pytestmark = pytest.mark.skipif(not find_spec("torch"), reason="pip install 'imp-data[train]'")


def plan_of(world: World, cards: Sequence[Card]) -> Plan:
    """Return the plan of a model whose stamps state that it was trained on these cards."""
    files = {f"{n}.png": card_file(one) for n, one in enumerate(cards)}
    world.images("cards", files, path="cards")
    records = [
        {
            "id": n,
            "image": f"cards/{name}",
            "conversations": [
                {"from": "human", "value": f"<image>\nWhat is on card {n}?"},
                {"from": "gpt", "value": "A sign."},
            ],
        }
        for n, name in enumerate(files)
    ]
    world.source("cards", records, images=["cards"])
    manifest(world)
    build = world.build({"cards": len(cards)}, model="small")
    run(build)
    plan = Plan.of(build)
    assert plan is not None
    plan.merged.mkdir(parents=True)
    digest = digest_of_files([plan.merged])
    write_stamp(build.stamp("models/small/merged"), {}, digest, {}, [])
    return plan


class EvaluateCalled(Exception):
    """The evaluation started."""


def evaluate(words: Sequence[str]) -> None:
    raise EvaluateCalled


def test_a_held_out_image_in_a_mixture_is_an_error_under_any_name(world: World) -> None:
    plan = plan_of(world, [card("cards", 0), held_out_card(3), card("cards", 1)])
    with pytest.raises(UserError, match="1 held-out images are in a training mixture"):
        gather(plan, evaluate)


def test_the_model_is_evaluated_if_no_held_out_image_is_in_a_mixture(world: World) -> None:
    plan = plan_of(world, [card("cards", 0), card("cards", 1)])
    with pytest.raises(EvaluateCalled):
        gather(plan, evaluate)
