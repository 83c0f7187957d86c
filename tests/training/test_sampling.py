"""Orders of training: LLaVA's by modality and length, and packing."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imp_data.training.data.batch_sampler import Packing, steps_of
from imp_data.training.data.sampling import (
    modality_length_order,
    packed,
    padding_share,
    random_order,
)

LENGTHS = st.lists(st.integers(1, 50) | st.integers(-50, -1), min_size=1, max_size=80).map(
    lambda some: np.array(some, np.int64)
)


@given(lengths=LENGTHS, batch=st.integers(1, 4), chunks=st.integers(1, 4), seed=st.integers(0, 9))
@settings(max_examples=300)
def test_each_row_stands_once_in_the_order_and_seed_and_epoch_decide_where(
    lengths: np.ndarray, batch: int, chunks: int, seed: int
) -> None:
    order = modality_length_order(lengths, batch, chunks, seed, 0)
    assert sorted(order) == list(range(len(lengths)))
    assert order == modality_length_order(lengths, batch, chunks, seed, 0)


def test_another_epoch_has_another_order() -> None:
    lengths = np.arange(1, 101) * np.where(np.arange(100) % 3, 1, -1)
    orders = {tuple(modality_length_order(lengths, 2, 2, 7, epoch)) for epoch in range(3)}
    assert len(orders) == 3


@given(lengths=LENGTHS, batch=st.integers(1, 4), chunks=st.integers(1, 4))
@settings(max_examples=300)
def test_full_megabatches_are_of_one_kind_and_the_tails_come_last(
    lengths: np.ndarray, batch: int, chunks: int
) -> None:
    whole = batch * chunks
    counts = [int((lengths > 0).sum()), int((lengths < 0).sum())]
    # A tail may be a full megabatch: it is the last of its kind, whatever its size.
    full = sum(-(-count // whole) - 1 for count in counts) if all(counts) else 0
    order = modality_length_order(lengths, batch, chunks, 1, 0)
    for begin in range(0, full * whole, whole):
        assert len({lengths[n] > 0 for n in order[begin : begin + whole]}) == 1
    tails = Counter(bool(lengths[n] > 0) for n in order[full * whole :])
    if all(counts):
        assert tails == {
            kind: count - (-(-count // whole) - 1) * whole
            for kind, count in zip((True, False), counts, strict=True)
        }


def test_a_megabatch_is_sorted_and_dealt_so_that_its_batches_weigh_the_same() -> None:
    """Longest first to the batch that is lightest: 9, then 8 to the other, 7 to that, then 6."""
    order = modality_length_order(np.array([6, 9, 7, 8]), 2, 2, 0, 0)
    assert order == [1, 0, 3, 2]


def test_what_does_not_divide_is_dealt_in_turn() -> None:
    order = modality_length_order(np.array([6, 9, 7]), 2, 2, 0, 0)
    assert order == [1, 0, 2]


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=200).map(np.array))
@settings(max_examples=300)
def test_bins_hold_each_row_once_and_are_never_too_full(lengths: np.ndarray) -> None:
    bins = packed(lengths, 40)
    assert sorted(row for some in bins for row in some) == list(range(len(lengths)))
    totals = sorted(int(lengths[list(some)].sum()) for some in bins)
    assert totals[-1] <= 40
    # Best fit leaves no two bins that one could hold.
    assert len(totals) == 1 or totals[0] + totals[1] > 40


def test_the_longest_are_placed_first_each_where_it_leaves_least_room() -> None:
    assert packed(np.array([4, -6, 3, 7, 10]), 10) == [(4,), (3, 2), (1, 0)]


@given(
    lengths=LENGTHS,
    devices=st.integers(1, 4),
    per_device=st.integers(1, 3),
    epochs=st.integers(1, 2),
)
@settings(max_examples=300)
def test_a_packed_step_is_of_the_same_rows_in_as_many_batches_a_device(
    lengths: np.ndarray, devices: int, per_device: int, epochs: int
) -> None:
    packing = Packing(lengths, 60)
    orders = [random_order(len(lengths), 3, epoch).tolist() for epoch in range(epochs)]
    parts = packing.parts(orders, 8, per_device, devices)
    if parts > 8:  # refused: so many devices have not a row each
        return
    for rows in (rows for order in orders for rows in steps_of(order, 8)):
        dealt = packing.deal(parts)(rows)
        assert len(dealt) == parts and parts % devices == 0
        assert sorted(n for batch in dealt for some in batch for n in some) == list(range(8))
        assert all(1 <= len(batch) <= per_device for batch in dealt)
        bins = [[rows[n] for n in some] for batch in dealt for some in batch]
        assert all(abs(lengths[some]).sum() <= 60 for some in bins)
        sizes = [len(batch) for batch in dealt]
        assert max(sizes) - min(sizes) <= 1


def test_batches_are_of_bins_of_like_width_the_fullest_first() -> None:
    packing = Packing(np.array([9, 4, 5, 8, -1, 3]), 9)
    rows = [5, 4, 3, 2, 1, 0]
    # Places in the step, not rows: a row that fills up the last step may stand there twice.
    assert packing.bins(rows) == [(5,), (2, 1), (3, 4), (0,)]
    assert packing.deal(2)(rows) == [[(5,), (2, 1)], [(3, 4), (0,)]]
    assert packing.deal(5)(rows) == [[(5,)], [(3, 4)], [(2,)], [(0,)], [(1,)]]


def test_padding_is_what_a_batch_computes_beyond_its_tokens() -> None:
    lengths = np.array([10, -5, 5])
    assert padding_share(lengths, [[(0,), (1,)], [(2,)]]) == pytest.approx(5 / 25)
    assert padding_share(lengths, [[(0,), (1, 2)]]) == 0
