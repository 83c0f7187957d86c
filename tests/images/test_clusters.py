"""Pairs and clusters of hashes within a distance."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.images import clusters as clusters_module
from imp_data.images.clusters import cluster_hashes, find_pairs, union_labels
from imp_data.parallel import map_ordered

HASHES = st.lists(st.integers(0, 31) | st.integers(0, 2**64 - 1), max_size=24)


def connected(values: list[int], max_bits: int) -> list[int]:
    """Return the first hash that each hash is connected to, by steps along all pairs."""
    first = list(range(len(values)))
    for _ in values:
        for i, one in enumerate(values):
            for j, other in enumerate(values):
                if (one ^ other).bit_count() <= max_bits:
                    first[i] = first[j] = min(first[i], first[j])
    return first


@given(HASHES, st.integers(0, 15), st.integers(1, 500))
def test_pairs_are_all_those_within_the_distance_each_once(
    values: list[int], max_bits: int, at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imp_data.images.hamming._BLOCK_PAIRS", at_once)
        patch.setattr(clusters_module, "_MOST_AT_ONCE", at_once)
        found = list(find_pairs(np.array(values, np.uint64), max_bits))
    rows = [row for some in found for row in zip(*(c.tolist() for c in some), strict=True)]
    expected = [
        (i, j, (one ^ other).bit_count())
        for i, one in enumerate(values)
        for j, other in enumerate(values)
        if i < j and (one ^ other).bit_count() <= max_bits
    ]
    assert sorted(rows) == expected


@given(HASHES, st.integers(0, 6))
def test_a_cluster_is_connected_by_a_chain_of_near_pairs(values: list[int], max_bits: int) -> None:
    found = cluster_hashes(np.array(values, np.uint64), max_bits)
    assert found.tolist() == connected(values, max_bits)


def test_two_workers_find_the_same_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    hashes = generator.integers(0, 2**64, 2000, dtype=np.uint64)
    hashes[::3] ^= np.uint64(1) << generator.integers(0, 64, len(hashes[::3]), dtype=np.uint64)
    hashes[1::2] = hashes[::2] ^ np.uint64(6)
    alone = cluster_hashes(hashes, 10)
    assert len(np.unique(alone)) < len(hashes)
    monkeypatch.setattr(clusters_module, "_FEW_COMPARISONS", 0)
    monkeypatch.setenv("IMP_WORKERS", "2")
    sent: list[str] = []

    def mapped(function: Any, pieces: Any) -> Any:
        sent.extend(pieces)
        return map_ordered(function, pieces)

    monkeypatch.setattr(clusters_module, "map_ordered", mapped)
    assert cluster_hashes(hashes, 10).tolist() == alone.tolist()
    assert len(sent) == 2 + 9 + 9 + 9


def test_a_hundred_thousand_equal_hashes_are_one_cluster_at_no_cost() -> None:
    assert not cluster_hashes(np.full(100_000, 7, np.uint64), 10).any()


def test_a_distance_above_15_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="up to 15 bits, not 16"):
        list(find_pairs(np.zeros(2, np.uint64), 16))


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40))
def test_united_one_edge_at_a_time_or_all_at_once_gives_the_same_sets(
    edges: list[tuple[int, int]],
) -> None:
    left, right = np.array(edges, np.int64).reshape(-1, 2).T
    at_once = union_labels(np.arange(20), left, right)
    piecewise = np.arange(20)
    for n in range(len(edges)):
        piecewise = union_labels(piecewise, left[n : n + 1], right[n : n + 1])
    assert at_once.tolist() == piecewise.tolist()
    assert (at_once[left] == at_once[right]).all()
    assert (at_once <= np.arange(20)).all()
