"""The loss of a step and its gradient, compared with explicit sums."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import torch
from conftest import World, encoded, run
from hypothesis import given
from hypothesis import strategies as st
from training_world import COLOURS, LORA, STAGE, model, shape

from imp_data.training.data.mixture_input import open_mixture
from imp_data.training.data.preflight import AcceptedRows
from imp_data.training.data.sampling import modality_length_order, random_order
from imp_data.training.data.shards import Shards
from imp_data.training.data.source_shares import compute_shares, format_shares
from imp_data.training.data.token_weights import StepWeights, token_weights
from imp_data.training.loop.reporting import read_metrics
from imp_data.training.loop.run import Run, train
from imp_data.training.loop.stage_data import epoch_order
from imp_data.training.loop.trainer import ImpTrainer
from imp_data.training.model.lora import trainable_parameters

torch.set_num_threads(1)

# --- weights --------------------------------------------------------------------------------------


def test_a_tokens_weight_depends_on_the_tokens_of_its_micro_batch() -> None:
    learned = np.array([[1, 3, 8, 8]])
    # Two micro-batches, each half of the loss: of 4 and of 16 tokens.
    assert token_weights(learned, 2).tolist() == [[1 / 8, 1 / 8, 1 / 32, 1 / 32]]
    # One mean over all 20 tokens; or one micro-batch per sample.
    assert token_weights(learned, 4).tolist() == [[1 / 20] * 4]
    assert token_weights(learned, 1).tolist() == [[1 / 4, 1 / 12, 1 / 32, 1 / 32]]


@given(
    learned=st.lists(st.integers(1, 99), min_size=12, max_size=12),
    loss_batch=st.sampled_from([1, 2, 3, 4, 6, 12]),
)
def test_the_weights_of_a_steps_tokens_sum_to_one(learned: list[int], loss_batch: int) -> None:
    counts = np.array([learned, learned[::-1]])
    whole = (token_weights(counts, loss_batch) * counts).sum(axis=1)
    assert whole == pytest.approx([1, 1], abs=1e-12)


def test_a_row_that_fills_up_a_step_is_weighted_at_each_position() -> None:
    weighting = StepWeights(np.array([2, 4, 6]), 2)
    # Row 0 with row 1, and again with row 2.
    assert [pick.weight for pick in weighting.weigh_rows([0, 1, 2, 0])] == (
        pytest.approx([1 / 12, 1 / 12, 1 / 16, 1 / 16])
    )
    assert weighting.loss_by_row([[0, 1, 2, 0]]).tolist() == (
        pytest.approx([2 / 12 + 2 / 16, 4 / 12, 6 / 16])
    )


# --- shares ---------------------------------------------------------------------------------------


def stage(**fields: Any) -> Any:
    from imp_data.manifests.model import Stage

    return Stage.model_validate({**STAGE, "per_device_batch": 2, **fields})


MICRO = {"loss_weighting": "micro_batch", "micro_batch_size": 2}
# A mixture of six rows, of which row 2 is refused.
TABLE = AcceptedRows(
    rows=np.array([0, 1, 3, 4, 5]),
    lengths=np.array([10, 10, 20, -40, -20]),
    learned=np.array([1, 3, 4, 30, 10]),
    sources=["vqa", "vqa", "captions", "chats", "chats"],
    estimates=np.array([703, 703, 710, -30, -15]),
)


@pytest.mark.parametrize(
    ("fields", "loss"),
    [
        # Steps 0 1 3 4 and 5 0 1 3: 38 learned tokens, then 18.
        ({}, {"vqa": 4 / 38 + 4 / 18, "captions": 4 / 38 + 4 / 18, "chats": 30 / 38 + 10 / 18}),
        # Micro-batches 0 1 | 3 4 of 4 and 34 tokens, then 5 0 | 1 3 of 11 and 7.
        (
            MICRO,
            {
                "vqa": 1 / 2 + 1 / 22 + 3 / 14,
                "captions": 4 / 68 + 4 / 14,
                "chats": 30 / 68 + 10 / 22,
            },
        ),
    ],
)
def test_shares_of_samples_tokens_and_loss_are_exact(
    fields: dict[str, Any], loss: dict[str, float]
) -> None:
    recipe = stage(sampler="random", **fields)
    weighting = StepWeights(np.array([1, 3, 0, 4, 30, 10]), recipe.loss_batch)
    found = compute_shares(recipe, TABLE, lambda epoch: [0, 1, 3, 4, 5], weighting)
    rows = found["sources"]
    assert {name: row["samples"] for name, row in rows.items()} == (
        {"vqa": 0.4, "captions": 0.2, "chats": 0.4}
    )
    assert {name: row["tokens"] for name, row in rows.items()} == (
        {"vqa": 0.2, "captions": 0.2, "chats": 0.6}
    )
    # Two steps, each half of the total.
    assert {name: row["loss"] for name, row in rows.items()} == (
        pytest.approx({name: value / 2 for name, value in loss.items()})
    )
    for column in ("samples", "tokens", "learned", "loss"):
        assert sum(row[column] for row in rows.values()) == pytest.approx(1, abs=1e-12)
    lines = format_shares(found).splitlines()
    assert lines[0].split() == ["share", "of", "samples", "tokens", "learned", "loss"]
    assert lines[1].split()[:3] == ["captions", "20.0%", "20.0%"]
    micro = "micro_batch, of 2 samples"
    assert lines[-1] == f"loss_weighting: {micro if fields else 'token'}"


# --- the original's micro-batches -----------------------------------------------------------------


def random_table(images: int, talks: int, learned: tuple[int, int]) -> AcceptedRows:
    """Return rows with distinct length estimates that are independent of their tokens."""
    count, chance = images + talks, np.random.default_rng(3)
    signs = np.where(np.arange(count) < images, 1, -1)
    return AcceptedRows(
        rows=np.arange(count),
        lengths=chance.integers(200, 900, count) * signs,
        learned=np.where(signs > 0, *learned),
        sources=["vqa"] * images + ["chats"] * talks,
        estimates=chance.permutation(count) * signs + 700 * (signs > 0) - (signs < 0),
    )


def dealt(step: Sequence[int], estimates: Any) -> list[list[int]]:
    """Split a step into two micro-batches of four: longest first, to the shorter one not full."""
    micro: list[list[int]] = [[], []]
    for row in sorted(step, key=lambda n: -abs(estimates[n])):
        sums = [sum(abs(estimates[n]) for n in rows) for rows in micro]
        first = len(micro[1]) == 4 or (len(micro[0]) < 4 and sums[0] <= sums[1])
        micro[0 if first else 1].append(row)
    return micro


@pytest.mark.parametrize("sampler", ["packed", "modality_length"])
def test_micro_batches_have_one_modality_and_use_the_originals_estimates(
    sampler: str,
) -> None:
    table = random_table(96, 32, (10, 100))
    recipe = stage(
        sampler=sampler, global_batch=8, loss_weighting="micro_batch", micro_batch_size=4
    )
    order = epoch_order(recipe, table, 0)
    assert sorted(order) == list(range(128))
    for begin in range(0, 14 * 8, 8):
        step = order[begin : begin + 8]
        assert len({n < 96 for n in step}) == 1
        assert [step[:4], step[4:]] == dealt(step, table.estimates)


FOURS = {"loss_weighting": "micro_batch", "micro_batch_size": 4}


@pytest.mark.parametrize(
    ("sampler", "weighting"),
    [("packed", FOURS), ("modality_length", FOURS), ("modality_length", {})],
)
def test_the_share_of_conversations_depends_on_their_number_alone(
    sampler: str, weighting: dict[str, Any]
) -> None:
    table = random_table(96, 32, (10, 100))
    recipe = stage(sampler=sampler, global_batch=8, **weighting)
    found = compute_shares(
        recipe,
        table,
        partial(epoch_order, recipe, table),
        StepWeights(table.learned, recipe.loss_batch),
    )
    # 11 steps of images, 3 of conversations, and 2 steps that interleave the rest.
    assert found["sources"]["chats"]["loss"] == pytest.approx((3 + 2 * 20 / 22) / 16, abs=1e-12)
    assert found["sources"]["chats"]["learned"] == pytest.approx(3200 / 4160)


# --- the gradient ---------------------------------------------------------------------------------

NAMES = list(COLOURS)
LORA_STILL = {**LORA, "dropout": 0.0}


def answer(n: int) -> str:
    """Return an answer of one to forty words."""
    return " ".join(NAMES[(n + k) % 4] for k in range((n * 7) % 23 + 1 if n % 3 else 40))


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory, one_worker: None) -> World:
    """Build a world of 21 shapes and 13 conversations, with answers of very different lengths."""
    world = World(tmp_path_factory.mktemp("talks"))
    files = {f"{n}.png": encoded(shape(COLOURS[NAMES[n % 4]], n)) for n in range(21)}
    world.images("shapes", files, path="shapes")
    turns = [
        [{"from": "human", "value": f"{'<image>' * (n < 21)}Say {n}"}, {"from": "gpt", "value": a}]
        for n, a in enumerate(map(answer, range(34)))
    ]
    records = [
        {"id": n, "conversations": turn, **({"image": f"shapes/{n}.png"} if n < 21 else {})}
        for n, turn in enumerate(turns)
    ]
    world.source("shapes", records, images=["shapes"])
    run(world.build({"shapes": 34}))
    return world


class Step:
    """One recorded step: its samples, and the gradient of its loss by parameter name."""

    def __init__(self, ids: list[str], gradient: dict[str, torch.Tensor]) -> None:
        self.ids, self.gradient = ids, gradient


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record each step's samples and gradient, and the network and the data."""
    seen: list[Any] = []
    plain = ImpTrainer._get_grad_norm

    def watch(self: Any, network: Any, grad_norm: Any = None) -> Any:
        gradient = {n: p.grad.clone() for n, p in trainable_parameters(network)}
        seen.append((Step(list(self._step_ids), gradient), network, self.train_dataset))
        return plain(self, network, grad_norm)

    monkeypatch.setattr(ImpTrainer, "_get_grad_norm", watch)
    return seen


def mean_over_tokens(network: Any, items: Sequence[Any], labels: Sequence[Any]) -> torch.Tensor:
    """Return the mean loss of the learned tokens of some samples, each computed alone."""
    losses = []
    for item, some in zip(items, labels, strict=True):
        given = {"input_ids": torch.from_numpy(item["input_ids"])[None]}
        if item["pixel_values"] is not None:
            given["pixel_values"] = torch.from_numpy(item["pixel_values"])
        logits = network(**given).logits[0, :-1]
        learned = torch.from_numpy(some)[1:]
        logarithms = torch.log_softmax(logits[learned != -100].double(), -1)
        losses.append(-logarithms.gather(1, learned[learned != -100][:, None])[:, 0])
    return torch.cat(losses).mean()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "per_device", "weighting"),
    [
        ("modality_length", 4, FOURS),  # the original's setting, one micro-batch at a time
        ("modality_length", 2, FOURS),  # less memory, the same loss
        ("modality_length", 8, FOURS),
        ("packed", 1, FOURS),
        ("packed", 3, FOURS),
        ("random", 2, FOURS),
        ("random", 2, {}),
        ("packed", 2, {}),
    ],
)
def test_loss_and_gradient_equal_an_explicit_computation(
    sampler: str,
    per_device: int,
    weighting: dict[str, Any],
    talks: World,
    watched: list[Any],
    tmp_path: Path,
) -> None:
    fields = {**STAGE, "sampler": sampler, "per_device_batch": per_device, **weighting}
    # The rate is so small that all steps see the initial network; nothing is clipped.
    fields |= {"lora": LORA_STILL, "global_batch": 8, "learning_rate": 1e-12}
    fields |= {"max_grad_norm": "none", "save_steps": 100}
    folder = talks.data.mixture("small")
    recipe = model(talks, {"adapter": fields})
    train(Run(recipe, talks.manifests, [open_mixture(folder)], tmp_path, workers=0))
    metrics = read_metrics(tmp_path / "adapter")
    assert len(watched) == len(metrics) == 5
    network, data = watched[0][1:]
    items = [data.item(n) for n in range(34)]
    order = order_of(folder, bool(weighting) and sampler != "random")
    for number, ((step, _, _), line) in enumerate(zip(watched, metrics, strict=True)):
        rows = [order[n % 34] for n in range(8 * number, 8 * number + 8)]
        assert sorted(step.ids) == sorted(items[n]["id"] for n in rows)
        network.zero_grad()
        size = 4 if weighting else 8
        groups = [rows[n : n + size] for n in range(0, 8, size)]
        means = [
            mean_over_tokens(
                network, [items[n] for n in group], [items[n]["labels"] for n in group]
            )
            for group in groups
        ]
        expected = sum(means) / len(means)
        expected.backward()
        assert line["loss"] == pytest.approx(expected.item(), rel=1e-5)
        wanted = gradients(network)
        largest = max(gradient.abs().max().item() for gradient in wanted.values())
        for name, gradient in wanted.items():
            assert (gradient - step.gradient[name]).abs().max() < 1e-4 * largest, name
        norm = torch.cat([gradient.flatten() for gradient in wanted.values()]).norm().item()
        assert line["grad_norm"] == pytest.approx(norm, rel=1e-4)


def gradients(network: Any) -> dict[str, torch.Tensor]:
    """Return gradients by parameter; without an image, the projector has none."""
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in trainable_parameters(network)
    }


def order_of(mixture: Path, by_modality: bool) -> list[int]:
    """Return the rows of an epoch by the stage's seed, computed from the rows alone."""
    shards = Shards(mixture)
    if not by_modality:
        return random_order(len(shards), STAGE["seed"], 0).tolist()
    lengths = []
    for row in (shards.row(n, ["image", "conversations"]) for n in range(len(shards))):
        words = sum(len(turn["value"].split()) for turn in row["conversations"])
        lengths.append(words + 700 if row["image"] else -words)
    return modality_length_order(np.array(lengths), 4, 2, STAGE["seed"], 0)


def test_a_run_prints_and_stores_the_shares_of_sources(
    talks: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {**STAGE, "lora": LORA_STILL, "sampler": "packed", **FOURS, "save_steps": 100}
    recipe = model(talks, {"adapter": {**fields, "global_batch": 8}})
    mixture = open_mixture(talks.data.mixture("small"))
    train(Run(recipe, talks.manifests, [mixture], tmp_path, max_steps=1, workers=0))
    printed = capsys.readouterr().out
    assert "loss_weighting: micro_batch, of 4 samples" in printed
    (line,) = [line for line in printed.splitlines() if line.endswith("100.0%")]
    assert line.split() == ["shapes", *["100.0%"] * 4]
    kept = json.loads((tmp_path / "adapter/shares.json").read_text())
    assert kept["sources"]["shapes"]["loss"] == 1
