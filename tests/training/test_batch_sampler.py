"""The batches of each step: accumulation, devices, and packing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_world import STAGE

from imp_data.errors import UserError
from imp_data.manifests.model import Stage, gradient_accumulation_steps
from imp_data.training.data.batch_sampler import (
    Packing,
    StepBatchSampler,
    iterate_steps,
    split_in_order,
)
from imp_data.training.data.sampling import random_order
from imp_data.training.data.token_weights import StepWeights
from tests.training.test_sampling import LENGTHS


@pytest.mark.parametrize(("devices", "expected"), [(1, 32), (2, 16), (4, 8), (8, 4), (32, 1)])
def test_accumulation_depends_on_the_number_of_devices(devices: int, expected: int) -> None:
    stage = Stage.model_validate({**STAGE, "global_batch": 128, "per_device_batch": 4})
    assert gradient_accumulation_steps(stage, devices) == expected


def test_a_number_of_devices_that_does_not_divide_the_batch_is_refused() -> None:
    stage = Stage.model_validate({**STAGE, "global_batch": 128, "per_device_batch": 4})
    with pytest.raises(
        UserError, match="128 is not a multiple of per_device_batch 4 x 3 devices = 12"
    ):
        gradient_accumulation_steps(stage, 3)


@given(rows=st.integers(1, 50), devices=st.sampled_from([1, 2, 4]), epoch=st.integers(0, 3))
def test_each_step_takes_the_same_rows_on_any_number_of_devices(
    rows: int, devices: int, epoch: int
) -> None:
    def order(number: int) -> list[int]:
        return np.random.default_rng(number).permutation(rows).tolist()

    def steps(devices: int) -> list[list[int]]:
        weigh = StepWeights(np.ones(50, np.int64), 8).weigh_rows
        parts = [
            StepBatchSampler(order, 8, 4, split_in_order(2), weigh, devices, n)
            for n in range(devices)
        ]
        for part in parts:
            part.set_epoch(epoch)
        dealt = [list(part) for part in parts]
        assert [len(part) for part in parts] == [len(batches) for batches in dealt]
        accumulated = 8 // (2 * devices)
        return [
            sorted(pick.row for d in dealt for b in d[n : n + accumulated] for pick in b)
            for n in range(0, len(dealt[0]), accumulated)
        ]

    alone = steps(1)
    assert steps(devices) == alone
    assert {row for step in alone for row in step} == set(range(rows))
    assert all(len(step) == 8 for step in alone)


@given(
    lengths=LENGTHS,
    devices=st.integers(1, 4),
    per_device=st.integers(1, 3),
    epochs=st.integers(1, 2),
)
@settings(max_examples=300)
def test_a_packed_step_has_the_same_rows_in_equally_many_batches_per_device(
    lengths: np.ndarray, devices: int, per_device: int, epochs: int
) -> None:
    packing = Packing(lengths, 60)
    orders = [random_order(len(lengths), 3, epoch).tolist() for epoch in range(epochs)]
    parts = packing.parts(orders, 8, per_device, devices)
    if parts > 8:  # refused: more batches than rows
        return
    for rows in (rows for order in orders for rows in iterate_steps(order, 8)):
        dealt = packing.deal(parts)(rows)
        assert len(dealt) == parts and parts % devices == 0
        assert sorted(n for batch in dealt for some in batch for n in some) == list(range(8))
        assert all(1 <= len(batch) <= per_device for batch in dealt)
        bins = [[rows[n] for n in some] for batch in dealt for some in batch]
        assert all(abs(lengths[some]).sum() <= 60 for some in bins)
        sizes = [len(batch) for batch in dealt]
        assert max(sizes) - min(sizes) <= 1


def test_batches_have_bins_of_similar_width_the_fullest_first() -> None:
    packing = Packing(np.array([9, 4, 5, 8, -1, 3]), 9)
    rows = [5, 4, 3, 2, 1, 0]
    # Positions in the step, not rows: a row may be twice in the filled-up last step.
    assert packing.bins(rows) == [(5,), (2, 1), (3, 4), (0,)]
    assert packing.deal(2)(rows) == [[(5,), (2, 1)], [(3, 4), (0,)]]
    assert packing.deal(5)(rows) == [[(5,)], [(3, 4)], [(2,)], [(0,)], [(1,)]]
