"""The evidence of learning is on images that no mixture holds, or there is none."""

from collections.abc import Sequence
from importlib.util import find_spec

import pytest
from conftest import World, run
from training_world import manifest

from demo.evidence import gather
from demo.sources.cards import Card, card, card_file, examined
from imp_data.errors import UserError
from imp_data.storage.stage_cache import digest_of_files, write_stamp
from imp_data.training.plan import Plan

pytestmark = pytest.mark.skipif(not find_spec("torch"), reason="pip install 'imp-data[train]'")


def plan_of(world: World, cards: Sequence[Card]) -> Plan:
    """A model that is trained, as far as its stamps tell, on a mixture of these cards."""
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


class Asked(Exception):
    """The model was asked."""


def ask(words: Sequence[str]) -> None:
    raise Asked


def test_a_held_out_image_in_a_mixture_is_refused_whatever_it_is_called_there(
    world: World,
) -> None:
    plan = plan_of(world, [card("cards", 0), examined(3), card("cards", 1)])
    with pytest.raises(UserError, match="1 images stand in the mixture"):
        gather(plan, ask)


def test_where_none_is_in_a_mixture_the_model_is_asked(world: World) -> None:
    plan = plan_of(world, [card("cards", 0), card("cards", 1)])
    with pytest.raises(Asked):
        gather(plan, ask)
