"""Training order, LLaVA's by modality and length, and packing."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imp_data.training.data.sampling import modality_length_order, pack_rows, padding_share

LENGTHS = st.lists(st.integers(1, 50) | st.integers(-50, -1), min_size=1, max_size=80).map(
    lambda some: np.array(some, np.int64)
)


@given(lengths=LENGTHS, batch=st.integers(1, 4), chunks=st.integers(1, 4), seed=st.integers(0, 9))
@settings(max_examples=300)
def test_each_row_is_once_in_an_order_that_seed_and_epoch_determine(
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
def test_full_megabatches_have_one_modality_and_the_tails_come_last(
    lengths: np.ndarray, batch: int, chunks: int
) -> None:
    whole = batch * chunks
    counts = [int((lengths > 0).sum()), int((lengths < 0).sum())]
    # A tail is the last megabatch of its modality, even if it is full.
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


def test_a_megabatch_is_sorted_and_balanced_over_its_batches() -> None:
    """The longest row goes to the lightest batch: 9, then 8 to the other, 7 to the same, then 6."""
    order = modality_length_order(np.array([6, 9, 7, 8]), 2, 2, 0, 0)
    assert order == [1, 0, 3, 2]


def test_an_indivisible_megabatch_is_distributed_round_robin() -> None:
    order = modality_length_order(np.array([6, 9, 7]), 2, 2, 0, 0)
    assert order == [1, 0, 2]


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=200).map(np.array))
@settings(max_examples=300)
def test_bins_hold_each_row_once_within_the_maximum_length(lengths: np.ndarray) -> None:
    bins = pack_rows(lengths, 40)
    assert sorted(row for some in bins for row in some) == list(range(len(lengths)))
    totals = sorted(int(lengths[list(some)].sum()) for some in bins)
    assert totals[-1] <= 40
    # After best fit, no two bins fit into one.
    assert len(totals) == 1 or totals[0] + totals[1] > 40


def test_packing_is_best_fit_decreasing() -> None:
    assert pack_rows(np.array([4, -6, 3, 7, 10]), 10) == [(4,), (3, 2), (1, 0)]


def test_padding_is_the_share_of_computed_tokens_that_no_row_has() -> None:
    lengths = np.array([10, -5, 5])
    assert padding_share(lengths, [[(0,), (1,)], [(2,)]]) == pytest.approx(5 / 25)
    assert padding_share(lengths, [[(0,), (1, 2)]]) == 0
