"""Orders of training: LLaVA's by modality and length, and packing."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imp_data.training.sampling import modality_length_order, packed, padding_share, shuffled

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


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=200).map(np.array),
    seed=st.integers(0, 5),
)
@settings(max_examples=300)
def test_bins_hold_each_row_once_and_are_never_too_full(lengths: np.ndarray, seed: int) -> None:
    bins = packed(lengths, 40, seed)
    assert sorted(row for some in bins for row in some) == list(range(len(lengths)))
    totals = sorted(int(lengths[list(some)].sum()) for some in bins)
    assert totals[-1] <= 40
    # Best fit leaves no two bins that one could hold.
    assert len(totals) == 1 or totals[0] + totals[1] > 40
    assert bins == packed(lengths, 40, seed)


def test_the_longest_are_placed_first_each_where_it_leaves_least_room() -> None:
    assert packed(np.array([4, -6, 3, 7, 10]), 10, 0) == [(4,), (3, 2), (1, 0)]


def test_an_epoch_shuffles_whole_bins() -> None:
    bins = packed(np.arange(1, 41), 40, 3)
    orders = [shuffled(bins, 3, epoch) for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(bins)
    assert orders[0] != orders[1]
    assert orders[0] == shuffled(bins, 3, 0)


def test_padding_is_what_a_batch_computes_beyond_its_tokens() -> None:
    lengths = np.array([10, -5, 5])
    assert padding_share(lengths, [[(0,), (1,)], [(2,)]]) == pytest.approx(5 / 25)
    assert padding_share(lengths, [[(0,), (1, 2)]]) == 0
