"""Find the nearest of very many hashes: compare buckets of near keys as dense blocks of pairs."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.images.bands import (
    Hashes,
    KeyBand,
    Places,
    choose_bands,
    key_counts,
    keys_in,
    near_masks,
)
from imp_data.parallel import worker_count

# Pairs compared at once: these and their distances fit a core's cache.
_BLOCK_PAIRS = 1 << 16
# References in a row of a block: NumPy needs three times as long for a pair in rows below 4,096.
_ROW_REFERENCES = 1 << 13
# Queries in one task of a thread, so that a large bucket keeps all threads busy.
_TASK_QUERIES = 1 << 11
# Below this cost, threads take longer to start than they save.
_FEW_PAIRS = 1 << 27
# Where hashes cluster, most queries have a reference this near; few are left for all `max_bits`.
_NEAR_BITS = 3
# But not if even this search compares so large a share of the pairs.
_NEAR_SHARE = 0.2
_PLACE_BITS = 32
NONE_NEAR = 255 << _PLACE_BITS


class DistinctHashes(NamedTuple):
    """Hashes without repeats, ascending, and the first place of each."""

    hashes: Hashes
    places: Places


class _Buckets(NamedTuple):
    """Hashes in the order of their keys: those of key k from `bounds[k]` to `bounds[k + 1]`.

    `order` has the place of each.
    """

    hashes: Hashes
    order: Places
    bounds: Places


def distinct_hashes(hashes: Hashes) -> DistinctHashes:
    """Return each hash once."""
    return DistinctHashes(*np.unique(hashes, return_index=True))


def rank_nearest(queries: Hashes, references: DistinctHashes, max_bits: int) -> Places:
    """Return distance << 32 | place of the nearest reference of each query; else NONE_NEAR.

    The first of equally near references counts. Every pair within `max_bits` is compared (see
    `split_bands`), at about 1 ns each and about once, in as many threads as there are workers.
    Memory: some 60 bytes a hash, and 1 MiB a thread.
    """
    asked, which = np.unique(queries, return_inverse=True)
    best = np.full(len(asked), NONE_NEAR, np.int64)
    if len(references.hashes):
        same = np.searchsorted(references.hashes, asked).clip(max=len(references.hashes) - 1)
        found = np.flatnonzero(references.hashes[same] == asked)
        best[found] = references.places[same[found]]
        if max_bits > _NEAR_BITS:
            _search(asked, references, _NEAR_BITS, best, _NEAR_SHARE)
        _search(asked, references, max_bits, best)
    return best[which.reshape(-1)]


def _search(
    asked: Hashes, references: DistinctHashes, max_bits: int, best: Places, most: float = 1
) -> None:
    """Search for the queries without a result, unless it costs more than a share of all pairs."""
    rows = np.flatnonzero(best == NONE_NEAR)
    queries, found = asked[rows], best[rows]
    cost, bands = choose_bands(queries, references.hashes, max_bits)
    if cost > most * len(queries) * len(references.hashes):
        return
    for band in bands:
        buckets = _fill(queries, np.arange(len(queries)), band)
        known = _fill(references.hashes, references.places, band)
        compare = partial(
            _compare, band=band, asked=buckets, known=known, limit=max_bits, best=found
        )
        _run(compare, [*_tasks(buckets.bounds)], 1 if cost < _FEW_PAIRS else worker_count())
    best[rows] = found


def _fill(hashes: Hashes, places: Places, band: KeyBand) -> _Buckets:
    order = np.argsort(keys_in(hashes, band), kind="stable")
    bounds = np.concatenate([[0], np.cumsum(key_counts(hashes, band))])
    return _Buckets(hashes[order], places[order], bounds)


def _tasks(bounds: Places) -> Iterator[list[tuple[int, int, int]]]:
    """Yield lists of (key, first, end): some thousand queries in buckets, or a part of one."""
    task, size = [], 0
    for key in np.flatnonzero(np.diff(bounds)).tolist():
        first, end = bounds[key : key + 2].tolist()
        for begin in range(first, end, _TASK_QUERIES):
            until = min(begin + _TASK_QUERIES, end)
            task.append((key, begin, until))
            size += until - begin
            if size >= _TASK_QUERIES:
                yield task
                task, size = [], 0
    if task:
        yield task


def _run(compare: "partial[None]", tasks: Sequence[list[tuple[int, int, int]]], count: int) -> None:
    """Run tasks in threads: each writes the results of its own queries, and NumPy frees the GIL."""
    if count == 1 or len(tasks) < 2:
        for task in tasks:
            compare(task)
        return
    threads = ThreadPoolExecutor(count, "hamming")
    try:
        for _ in threads.map(compare, tasks):
            pass
    finally:
        threads.shutdown(cancel_futures=True)  # after Ctrl-C, none but those that have begun


def _compare(
    task: list[tuple[int, int, int]],
    band: KeyBand,
    asked: _Buckets,
    known: _Buckets,
    limit: int,
    best: Places,
) -> None:
    """Compare the queries of a task with all references in the buckets near theirs."""
    pairs, counts = np.empty(_BLOCK_PAIRS, np.uint64), np.empty(_BLOCK_PAIRS, np.uint8)
    masks = near_masks(band.width_bits, band.radius)
    for key, first, end in task:
        near = key ^ masks
        spans = [*zip(known.bounds[near].tolist(), known.bounds[near + 1].tolist(), strict=True)]
        references = np.concatenate([known.hashes[begin:until] for begin, until in spans])
        places: Places | None = None
        for column in range(0, len(references), _ROW_REFERENCES):
            some = references[column : column + _ROW_REFERENCES]
            step = max(_BLOCK_PAIRS // len(some), 1)
            for row in range(first, end, step):
                queries = asked.hashes[row : min(row + step, end), None]
                shape, size = (len(queries), len(some)), queries.size * len(some)
                block = np.bitwise_xor(queries, some, out=pairs[:size].reshape(shape))
                bits = np.bitwise_count(block, out=counts[:size].reshape(shape))
                if bits.min() > limit:
                    continue
                if places is None:
                    places = np.concatenate([known.order[begin:until] for begin, until in spans])
                _keep_nearest(
                    bits,
                    asked.order[row : row + len(queries)],
                    places[column : column + len(some)],
                    limit,
                    best,
                )


def _keep_nearest(
    bits: npt.NDArray[np.uint8], rows: Places, places: Places, limit: int, best: Places
) -> None:
    """Enter the least of each row of distances in `best`, where it is at least as near."""
    least = bits.min(axis=1)
    near = np.flatnonzero((least <= limit) & (least <= best[rows] >> _PLACE_BITS))
    row, column = np.nonzero(bits[near] == least[near, None])
    ranked = least[near[row]].astype(np.int64) << _PLACE_BITS | places[column]
    np.minimum.at(best, rows[near[row]], ranked)
