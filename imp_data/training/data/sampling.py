"""In which order, and in whose company, Samples are trained on.

Lengths of text alone are negative. Every order follows from seed and epoch alone.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Lengths = npt.NDArray[np.int64]


def random_order(count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """By chance alone."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def modality_length_order(
    lengths: Lengths, batch: int, chunks: int, seed: int, epoch: int
) -> list[int]:
    """LLaVA's order (llava_trainer.py:43-141): a megabatch holds images or text alone, by length.

    `chunks` batches (devices times accumulation) of `batch` rows make one megabatch, whose rows are
    sorted by length and dealt to its batches evenly. Megabatches are shuffled; the two that are not
    full stand at the end, mixed.
    """
    random = np.random.default_rng([seed, epoch])
    shown, text = np.flatnonzero(lengths > 0), np.flatnonzero(lengths < 0)
    sizes = np.abs(lengths)
    if not len(shown) or not len(text):
        return [
            n
            for some in _by_length(np.arange(len(sizes)), sizes, batch, chunks, random)
            for n in some
        ]
    kinds = [_by_length(rows, sizes, batch, chunks, random) for rows in (shown, text)]
    tails = [megabatches.pop() for megabatches in kinds]
    megabatches = [*kinds[0], *kinds[1]]
    shuffled = [megabatches[n] for n in random.permutation(len(megabatches))]
    shared = min(len(tail) for tail in tails)
    mixed = [n for pair in zip(*(tail[:shared] for tail in tails), strict=True) for n in pair]
    rest = [n for tail in tails for n in tail[shared:]]
    return [n for some in [*shuffled, mixed, rest] for n in some]


def _by_length(
    rows: npt.NDArray[np.int64],
    sizes: Lengths,
    batch: int,
    chunks: int,
    random: np.random.Generator,
) -> list[list[int]]:
    """Megabatches of shuffled rows, each as its batches one after the other, longest row first."""
    shuffled, whole = random.permutation(rows), batch * chunks
    found = []
    for begin in range(0, len(rows), whole):
        some = shuffled[begin : begin + whole]
        ordered = some[np.argsort(-sizes[some], kind="stable")].tolist()
        found.append([n for chunk in _dealt(ordered, sizes, chunks) for n in chunk])
    return found


def _dealt(ordered: Sequence[int], sizes: Lengths, chunks: int) -> list[list[int]]:
    """Each row to the chunk that is shortest so far, until that is full."""
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


def packed(lengths: Lengths, max_length: int) -> list[tuple[int, ...]]:
    """Rows that are to be one sequence each, of at most `max_length` tokens.

    Best fit, longest first; of rows of one length the earlier.
    """
    sizes = np.abs(lengths)
    ordered = np.argsort(-sizes, kind="stable")
    bins: list[list[int]] = []
    # Bins by the room that is left in them; a bit says where there are any.
    by_room: defaultdict[int, list[int]] = defaultdict(list)
    rooms = 0
    for row, size in zip(ordered.tolist(), sizes[ordered].tolist(), strict=True):
        fitting = rooms >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            place = by_room[room].pop()
            rooms ^= (not by_room[room]) << room
        else:
            room, place = max_length, len(bins)
            bins.append([])
        bins[place].append(row)
        by_room[room - size].append(place)
        rooms |= 1 << (room - size)
    return [tuple(some) for some in bins]


def padding_share(lengths: Lengths, batches: Sequence[Sequence[tuple[int, ...]]]) -> float:
    """Of all tokens that are computed, those that are padding; a batch is as wide as its widest."""
    sizes = np.abs(lengths)
    used = computed = 0
    for batch in batches:
        widths = [int(sizes[list(rows)].sum()) for rows in batch]
        used += sum(widths)
        computed += max(widths) * len(widths)
    return 1 - used / computed
