"""Of very many hashes the same nearest are found as among all pairs, however they cluster."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.images import buckets, hamming
from imp_data.images.bands import (
    ALL_PAIRS,
    KeyBand,
    choose_bands,
    keys_in,
    near_masks,
    split_bands,
)
from imp_data.images.buckets import NONE_NEAR, distinct_hashes, rank_nearest
from imp_data.images.hamming import build_index, find_nearest, find_nearest_within

HASHES = st.lists(st.integers(0, 7) | st.integers(0, 2**64 - 1), min_size=1, max_size=30)


def hashes(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint64)


def clustered(seed: int, count: int) -> np.ndarray:
    """Return hashes of which half are one of three templates with a few bits flipped."""
    generator = np.random.default_rng(seed)
    found = generator.integers(0, 2**64, count, dtype=np.uint64)
    templates = np.array([0, 2**64 - 1, 0x0F0F_3333_5555_00FF], np.uint64)
    flips = np.uint64(1) << generator.integers(0, 64, (count // 2, 5), dtype=np.uint64)
    near = templates[np.arange(count // 2) % 3] ^ np.bitwise_or.reduce(flips, axis=1)
    found[: count // 2] = near
    return found


def ranked_by_all_pairs(queries: np.ndarray, references: np.ndarray, max_bits: int) -> list[int]:
    found = find_nearest(queries, references)
    ranked = (found.distance_bits.astype(np.int64) << 32) | found.place
    return np.where(found.distance_bits <= max_bits, ranked, NONE_NEAR).tolist()


@st.composite
def scattered(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """References, and queries that differ from one of them in up to 14 bits, or in any."""
    references = draw(HASHES)
    flips = st.sets(st.integers(0, 63), max_size=14).map(lambda bits: sum(1 << b for b in bits))
    near = st.builds(lambda r, f: r ^ f, st.sampled_from(references), flips)
    return draw(st.lists(near | st.integers(0, 2**64 - 1), max_size=12)), references


@given(scattered(), st.integers(0, 20), st.sampled_from([0, 5, 6, 7, 8]), st.integers(1, 40))
def test_the_nearest_and_of_equally_near_ones_the_first_is_found(
    world: tuple[list[int], list[int]], max_bits: int, count: int, at_once: int
) -> None:
    queries, references = (hashes(values) for values in world)

    def split(_: object, __: object, bits: int) -> tuple[float, list[KeyBand]]:
        return 0.0, split_bands(count, bits) if count else [ALL_PAIRS]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "choose_bands", split)
        for size in ("_BLOCK_PAIRS", "_ROW_REFERENCES"):
            patch.setattr(buckets, size, at_once)
        found = rank_nearest(queries, distinct_hashes(references), max_bits)
    assert found.tolist() == ranked_by_all_pairs(queries, references, max_bits)


@pytest.mark.parametrize("workers", ["1", "3"])
def test_clusters_give_the_same_on_any_number_of_threads(
    workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, references = clustered(1, 3000), clustered(2, 2000)
    monkeypatch.setenv("IMP_WORKERS", workers)
    monkeypatch.setattr(buckets, "_FEW_PAIRS", 0)
    monkeypatch.setattr(buckets, "_TASK_QUERIES", 100)
    monkeypatch.setattr(buckets, "choose_bands", lambda *a: (1.0, split_bands(8, a[2])))
    found = rank_nearest(queries, distinct_hashes(references), 10)
    expected = ranked_by_all_pairs(queries, references, 10)
    assert found.tolist() == expected
    assert sum(one != NONE_NEAR for one in expected) > 1000


def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("of a thread")

    monkeypatch.setenv("IMP_WORKERS", "2")
    monkeypatch.setattr(buckets, "_FEW_PAIRS", 0)
    monkeypatch.setattr(buckets, "_TASK_QUERIES", 10)
    monkeypatch.setattr(buckets, "_keep_nearest", fail)
    with pytest.raises(MemoryError, match="of a thread"):
        rank_nearest(clustered(1, 300), distinct_hashes(clustered(2, 300)), 10)


def test_without_hashes_nothing_is_near() -> None:
    some, none = hashes([5, 6]), hashes([])
    assert rank_nearest(some, distinct_hashes(none), 10).tolist() == [NONE_NEAR] * 2
    assert rank_nearest(none, distinct_hashes(some), 10).tolist() == []


@pytest.mark.parametrize("most", [0, 1 << 62])
def test_where_hashes_cluster_buckets_take_the_place_of_the_index(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half of the queries have a key of a third of the references: the index finds 10^7 pairs.
    queries, references = clustered(1, 5000), clustered(2, 4000)
    calls = []

    def ranked(*some: object) -> object:
        calls.append(some)
        return rank_nearest(*some)  # type: ignore[arg-type]

    monkeypatch.setattr(hamming, "_FEW_PAIRS", most)
    monkeypatch.setattr(hamming, "rank_nearest", ranked)
    found = find_nearest_within(queries, build_index(references, 10))
    assert len(calls) == (most == 0)
    expected = ranked_by_all_pairs(queries, references, 10)
    assert found.distance_bits.tolist() == [one >> 32 for one in expected]
    assert found.place.tolist() == [one & 0xFFFFFFFF for one in expected]


@pytest.mark.parametrize("count", range(4, 9))
@pytest.mark.parametrize("max_bits", range(16))
def test_bands_part_the_hash_and_every_near_pair_is_near_in_one(count: int, max_bits: int) -> None:
    bands = split_bands(count, max_bits)
    assert sum(band.radius + 1 for band in bands) == max_bits + 1
    if max_bits + 1 >= count:
        assert sum(band.width_bits for band in bands) == 64
        assert [band.first_bit for band in bands] == np.cumsum(
            [0, *(band.width_bits for band in bands[:-1])]
        ).tolist()


def test_a_key_is_the_bits_of_its_band() -> None:
    assert keys_in(hashes([0xABCD_0000_0000_1234]), KeyBand(4, 8, 1)).tolist() == [0x23]
    assert keys_in(hashes([0xABCD_0000_0000_1234]), KeyBand(48, 16, 1)).tolist() == [0xABCD]
    assert keys_in(hashes([7, 8]), ALL_PAIRS).tolist() == [0, 0]
    assert near_masks(3, 1).tolist() == [0, 1, 2, 4]


def test_few_hashes_are_compared_all_with_all() -> None:
    assert choose_bands(clustered(1, 100), clustered(2, 100), 10) == (10_000.0, [ALL_PAIRS])


def test_many_hashes_are_split_unless_all_have_one_key() -> None:
    generator = np.random.default_rng(1)
    many = generator.integers(0, 2**64, 40_000, dtype=np.uint64)
    cost, bands = choose_bands(many, many, 10)
    assert bands == split_bands(len(bands), 10)
    assert cost < len(many) ** 2 / 4
    alike = np.full(40_000, 5, np.uint64)
    assert choose_bands(alike, alike, 10) == (1.6e9, [ALL_PAIRS])
