"""Order of training samples, by length and modality, and packing into sequences.

Lengths of samples without an image are negative. Every order depends on seed and epoch alone.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Lengths = npt.NDArray[np.int64]


def random_order(count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return a random permutation of `count` rows."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def modality_length_order(
    lengths: Lengths, batch: int, chunks: int, seed: int, epoch: int
) -> list[int]:
    """Return LLaVA's order (llava_trainer.py:43-141): a megabatch has images, or text alone.

    A megabatch is `chunks` batches (devices times accumulation) of `batch` rows. Its rows are
    sorted by length and distributed evenly over its batches. Megabatches are shuffled; the last
    one of each modality, which may not be full, is interleaved with the other at the end.
    """
    random = np.random.default_rng([seed, epoch])
    images, text = np.flatnonzero(lengths > 0), np.flatnonzero(lengths < 0)
    sizes = np.abs(lengths)
    if not len(images) or not len(text):
        return [
            n
            for some in _megabatches(np.arange(len(sizes)), sizes, batch, chunks, random)
            for n in some
        ]
    kinds = [_megabatches(rows, sizes, batch, chunks, random) for rows in (images, text)]
    tails = [megabatches.pop() for megabatches in kinds]
    megabatches = [*kinds[0], *kinds[1]]
    shuffled = [megabatches[n] for n in random.permutation(len(megabatches))]
    shared = min(len(tail) for tail in tails)
    mixed = [n for pair in zip(*(tail[:shared] for tail in tails), strict=True) for n in pair]
    rest = [n for tail in tails for n in tail[shared:]]
    return [n for some in [*shuffled, mixed, rest] for n in some]


def _megabatches(
    rows: npt.NDArray[np.int64],
    sizes: Lengths,
    batch: int,
    chunks: int,
    random: np.random.Generator,
) -> list[list[int]]:
    """Return megabatches of shuffled rows: each is its batches concatenated, longest row first."""
    shuffled, whole = random.permutation(rows), batch * chunks
    found = []
    for begin in range(0, len(rows), whole):
        some = shuffled[begin : begin + whole]
        ordered = some[np.argsort(-sizes[some], kind="stable")].tolist()
        found.append([n for chunk in _distribute(ordered, sizes, chunks) for n in chunk])
    return found


def _distribute(ordered: Sequence[int], sizes: Lengths, chunks: int) -> list[list[int]]:
    """Assign each row to the chunk with the fewest tokens so far that is not full."""
    if len(ordered) % chunks:
        return [list(ordered[n::chunks]) for n in range(chunks)]
    dealt: list[list[int]] = [[] for _ in range(chunks)]
    totals = [0.0] * chunks
    for row in ordered:
        place = totals.index(min(totals))
        dealt[place].append(row)
        full = len(dealt[place]) == len(ordered) // chunks
        totals[place] = np.inf if full else totals[place] + int(sizes[row])
    return dealt


def pack_rows(lengths: Lengths, max_length: int) -> list[tuple[int, ...]]:
    """Return groups of rows, each at most `max_length` tokens together, one sequence per group.

    Best-fit decreasing: longest rows first, and the earlier row first among equal lengths.
    """
    sizes = np.abs(lengths)
    ordered = np.argsort(-sizes, kind="stable")
    bins: list[list[int]] = []
    # Bins by their free tokens; bit n of `occupied` is set if a bin has n free tokens.
    by_free: defaultdict[int, list[int]] = defaultdict(list)
    occupied = 0
    for row, size in zip(ordered.tolist(), sizes[ordered].tolist(), strict=True):
        fitting = occupied >> size
        if fitting:
            free = size + (fitting & -fitting).bit_length() - 1
            number = by_free[free].pop()
            occupied ^= (not by_free[free]) << free
        else:
            free, number = max_length, len(bins)
            bins.append([])
        bins[number].append(row)
        by_free[free - size].append(number)
        occupied |= 1 << (free - size)
    return [tuple(rows) for rows in bins]


def padding_share(lengths: Lengths, batches: Sequence[Sequence[tuple[int, ...]]]) -> float:
    """Return the share of padding among all computed tokens; the longest row sets the width."""
    sizes = np.abs(lengths)
    used = computed = 0
    for batch in batches:
        widths = [int(sizes[list(rows)].sum()) for rows in batch]
        used += sum(widths)
        computed += max(widths) * len(widths)
    return 1 - used / computed
