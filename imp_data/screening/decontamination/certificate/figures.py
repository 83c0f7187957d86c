"""Sum measurements up as figures: recall by alteration and group, rates of false matches."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from imp_data.screening.decontamination.certificate.alterations import ALTERATIONS, GROUPS, Group
from imp_data.screening.decontamination.certificate.intervals import (
    clopper_pearson,
    significant,
    upper_bound_per_million,
    wilson_of_clusters,
)
from imp_data.screening.decontamination.certificate.measure import BEYOND, Measurement, Steps, Tally
from imp_data.screening.decontamination.certificate.pair_kinds import (
    HALVES,
    PHOTO_DOCUMENT_PAIRS,
    PHOTO_PAIRS,
)
from imp_data.screening.decontamination.certificate.trial_images import DOCUMENT_KINDS, half_of

PHOTO_LIKE, DOCUMENT_LIKE = "photo-like", "document-like"
_MOST_LISTED = 100


def measurement_figures(
    measured: Measurement, threshold: float | None = None, half: str | None = None
) -> dict[str, Any]:
    """Return the figures of one matcher, for the certificate's JSON.

    `threshold` is the matcher's own by default. `half` restricts them to images of that half.
    """
    matcher = measured.matcher
    limit = matcher.threshold if threshold is None else threshold
    step = round(limit / matcher.step)
    sets = {}
    for name, rows in image_sets(measured, half).items():
        sets[name] = {
            "images": len(rows),
            "groups": group_figures(measured.own[rows], step),
            "alterations": alteration_figures(measured.own[rows], step),
        }
    return {
        "matcher": matcher.name,
        "version": matcher.version,
        "unit": matcher.unit,
        "threshold": limit,
        "sets": sets,
        "false_matches": [*false_matches(measured, step, half)],
        "curve": [*curve(measured, half)],
    }


def image_sets(measured: Measurement, half: str | None = None) -> dict[str, list[int]]:
    """Return the rows of `own` of photo-like and of document-like images; not the empty ones."""
    sets: dict[str, list[int]] = {PHOTO_LIKE: [], DOCUMENT_LIKE: []}
    for row, place in enumerate(measured.altered):
        image = measured.images[place]
        if half in (None, half_of(image.origin)):
            sets[DOCUMENT_LIKE if image.kind in DOCUMENT_KINDS else PHOTO_LIKE].append(row)
    return {name: rows for name, rows in sets.items() if rows}


def found_within(own: Steps, step: int) -> npt.NDArray[np.bool_]:
    """Return which copies are found, bool[images, alterations]."""
    return np.asarray((own != BEYOND) & (own <= step))


def alteration_figures(own: Steps, step: int) -> dict[str, dict[str, Any]]:
    """Return group, copies found, recall and its exact interval of each alteration."""
    found, figures = found_within(own, step), {}
    for n, (name, alteration) in enumerate(ALTERATIONS.items()):
        hits = int(found[:, n].sum())
        figures[name] = {"group": alteration.group, **_recall(hits, len(own))}
        figures[name] |= clopper_pearson(hits, len(own))._asdict()
    return figures


def group_figures(own: Steps, step: int) -> dict[Group, dict[str, Any]]:
    """Return copies found, recall, its interval and goal of each group.

    `complete` counts the images all of whose copies in the group are found.
    """
    found, figures = found_within(own, step), {}
    for group, (title, goal) in GROUPS.items():
        columns = found[:, _columns(group)]
        hits = columns.sum(axis=1).tolist()
        of = [columns.shape[1]] * len(own)
        figures[group] = {
            "title": title,
            "goal": goal,
            **_recall(sum(hits), sum(of)),
            **wilson_of_clusters(hits, of)._asdict(),
            "complete": int(columns.all(axis=1).sum()),
        }
    return figures


def false_matches(
    measured: Measurement, step: int, half: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield pairs, matches, rate per 10^6 pairs and its upper bound for each kind of pair.

    Images as they are, and altered copies with other images, apart.
    """
    for copies, tally in ((False, measured.plain), (True, measured.of_copies)):
        for n, kind in enumerate(measured.kinds.names):
            pairs, false = _counts(tally, n, step, half)
            if pairs:
                yield {
                    "pairs_of": kind,
                    "altered": copies,
                    "pairs": pairs,
                    "false": false,
                    "per_million": significant(1e6 * false / pairs),
                    "upper_per_million": upper_bound_per_million(false, pairs),
                }


def curve(measured: Measurement, half: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield recall by set and group, and false matches of photos, for each threshold."""
    sets = image_sets(measured, half)
    for step in range(round(measured.matcher.loosest / measured.matcher.step) + 1):
        recall = {
            name: {
                group: round(
                    float(found_within(measured.own[rows], step)[:, _columns(group)].mean()), 6
                )
                for group in GROUPS
            }
            for name, rows in sets.items()
        }
        pairs, false = photo_false_matches(measured, step, half)
        yield {
            "threshold": round(step * measured.matcher.step, 6),
            "recall": recall,
            "photo_pairs": pairs,
            "photo_false": false,
        }


def photo_false_matches(
    measured: Measurement, step: int, half: str | None = None
) -> tuple[int, int]:
    """Return pairs and false matches of photos with photos, crops of others, and documents."""
    names = measured.kinds.names
    wanted = [names.index(kind) for kind in (*PHOTO_PAIRS, PHOTO_DOCUMENT_PAIRS) if kind in names]
    counts = [_counts(measured.plain, n, step, half) for n in wanted]
    return sum(pairs for pairs, _ in counts), sum(false for _, false in counts)


def choose_threshold(measured: Measurement, half: str, most_per_million: float = 1) -> float:
    """Return the loosest threshold with at most so many false matches of photos in this half.

    The strictest one if none is so strict.
    """
    steps = range(round(measured.matcher.loosest / measured.matcher.step) + 1)
    chosen = 0
    for step in steps:
        pairs, false = photo_false_matches(measured, step, half)
        if false * 1e6 > most_per_million * pairs:
            break
        chosen = step
    return round(chosen * measured.matcher.step, 6)


def matched_pairs(measured: Measurement) -> dict[str, Any]:
    """Return the pairs of images that match as they are, taken for copies or not."""
    shown = [pair._asdict() for pair in measured.matches[:_MOST_LISTED]]
    return {"listed": shown, "not_listed": len(measured.matches) - len(shown)}


def _columns(group: Group) -> list[int]:
    return [n for n, one in enumerate(ALTERATIONS.values()) if one.group == group]


def _recall(found: int, of: int) -> Mapping[str, Any]:
    return {"found": found, "of": of, "recall": round(found / of, 6) if of else None}


def _counts(tally: Tally, kind: int, step: int, half: str | None) -> tuple[int, int]:
    halves: Sequence[int] = range(len(HALVES)) if half is None else [HALVES.index(half)]
    pairs = int(tally.pairs[halves, kind].sum())
    return pairs, int(tally.steps[halves, kind, : step + 1].sum())
