"""Certify the matchers of this project beside others: recall, false matches, cost.

    python benchmarks/decontamination.py                      (drawn images, and IMP_REAL_DATA)
    python benchmarks/decontamination.py --images FOLDER…     (images of these folders instead)
    python benchmarks/decontamination.py --quick              (about a minute)
    pip install pdqhash imagededup                            (two of the peers)

Every matcher gets the same images: photos, crops of them, frames of scenes, and documents of one
template each, drawn, beside the images of folders. Some of them are altered in every way of
`imp_data.screening.decontamination.certificate.alterations`. A copy is found if it matches its own
original. Each pair of images that show different things is a trial for false matches. Images are
split by origin: the loosest threshold with one false match of photos in a million pairs, at most,
is chosen on the one half, and recall at it is stated on the other, beside recall at the matcher's
own threshold. A peer that is not installed is left out, with the reason. The last line is one JSON
object."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peer_matchers import installed_peers
from rich.console import Console
from rich.table import Table as Shown

from imp_data.errors import UserError
from imp_data.parallel import worker_count
from imp_data.screening.decontamination.certificate.alterations import ALTERATIONS, GROUPS
from imp_data.screening.decontamination.certificate.certify import find_images
from imp_data.screening.decontamination.certificate.copy_matcher import CopyMatcher
from imp_data.screening.decontamination.certificate.describe import Described, describe
from imp_data.screening.decontamination.certificate.figures import (
    choose_threshold,
    measurement_figures,
)
from imp_data.screening.decontamination.certificate.intervals import significant
from imp_data.screening.decontamination.certificate.matchers import BuildMatcher, Matcher
from imp_data.screening.decontamination.certificate.measure import Measurement, measure
from imp_data.screening.decontamination.certificate.tables import interval, percent
from imp_data.screening.decontamination.certificate.trial_images import (
    DOCUMENT_KINDS,
    PHOTO,
    choose_sample,
    crops_of,
    drawn_documents,
    drawn_frames,
    drawn_photos,
)

_SIZES = {
    # drawn photos, crops of each photo, scenes, templates of each kind, altered images
    "whole": (120, 4, 12, 6, 120),
    "quick": (16, 2, 3, 2, 16),
}


def described_images(
    folders: list[Path], matchers: list[Matcher], size: tuple[int, ...]
) -> list[Described]:
    """Describe the images of folders, drawn images, and crops of the photos among both."""
    photos, crops, scenes, templates, _ = size
    stored: list[Described] = []
    if folders:
        found = find_images(folders)
        stored, broken = describe(found.images, matchers, "images of folders")
        for one in broken:
            print(f"left out: {one.name}: {one.problem}", file=sys.stderr)
    drawn = list(drawn_photos(photos))
    real = {one.image.origin: one.image for one in stored if one.image.kind == PHOTO}
    others = [
        *drawn,
        *crops_of([*real.values(), *drawn], crops),
        *drawn_frames(scenes),
        *drawn_documents(templates),
    ]
    more, _ = describe(others, matchers, "drawn images and crops")
    return [*stored, *more]


def altered_places(described: list[Described], most: int) -> list[int]:
    """Choose photos and documents to alter, one of each origin, two photos for each document."""
    first = {one.image.origin: n for n, one in reversed([*enumerate(described)])}
    chosen: list[int] = []
    for wanted, count in ((frozenset({PHOTO}), most * 2 // 3), (DOCUMENT_KINDS, most // 3)):
        places = sorted(n for n in first.values() if described[n].image.kind in wanted)
        names = [described[n].image.name for n in places]
        chosen += [places[n] for n in choose_sample(names, count)]
    return sorted(chosen)


def figures_of(measured: Measurement) -> dict[str, Any]:
    """Return the figures at the matcher's threshold, and on the halves; and what it costs."""
    chosen, cost = choose_threshold(measured, "tune"), measured.cost
    return {
        **measurement_figures(measured),
        "held_out": measurement_figures(measured, half="held-out"),
        "threshold_chosen": chosen,
        "held_out_at_chosen": measurement_figures(measured, chosen, "held-out"),
        "cost": {
            "image_us": significant(1e6 * cost.image_seconds / max(cost.images, 1)),
            "pair_us": significant(1e6 * cost.pair_seconds / max(cost.pairs, 1)),
        },
    }


def group_rows(told: list[dict[str, Any]]) -> Iterator[list[str]]:
    """Yield rows of the comparison: a column for each matcher."""
    for name in told[0]["sets"]:
        for group in GROUPS:
            cells = [one["sets"][name]["groups"][group] for one in told]
            shares = (f"{percent(c['recall'])} ({interval(c['low'], c['high'])})" for c in cells)
            yield [f"{name} {group}: {GROUPS[group].title}", *shares]
        for group in GROUPS:
            cells = [one["held_out_at_chosen"]["sets"][name]["groups"][group] for one in told]
            yield [
                f"{name} {group}, held out, threshold chosen",
                *(percent(c["recall"]) for c in cells),
            ]


def alteration_rows(told: list[dict[str, Any]]) -> Iterator[list[str]]:
    for name in told[0]["sets"]:
        for way, alteration in ALTERATIONS.items():
            cells = [one["sets"][name]["alterations"][way] for one in told]
            yield [f"{name} {alteration.group}: {way}", *(percent(c["recall"]) for c in cells)]


def false_rows(told: list[dict[str, Any]]) -> Iterator[list[str]]:
    for rows in zip(*(one["false_matches"] for one in told), strict=True):
        kind = f"{rows[0]['pairs_of']}{', one altered' if rows[0]['altered'] else ''}"
        cells = (f"{row['per_million']:,g} (≤ {row['upper_per_million']:,g})" for row in rows)
        yield [f"{kind}, {rows[0]['pairs']:,} pairs", *cells]


def show(title: str, told: list[dict[str, Any]], rows: Iterator[list[str]]) -> None:
    table = Shown(title=title, title_justify="left")
    table.add_column("")
    for one in told:
        head = f"{one['matcher']} ≤ {one['threshold']:g}"
        table.add_column(head, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("IMP_REAL_DATA")
    parser.add_argument(
        "--images", type=Path, nargs="*", default=[Path(default)] if default else []
    )
    parser.add_argument("--quick", action="store_true", help="fewer images")
    parser.add_argument("--altered", type=int, help="number of images that are altered")
    args = parser.parse_args()
    begun = time.perf_counter()
    peers, left_out = installed_peers()
    matchers: list[Matcher] = [BuildMatcher(), CopyMatcher(), *peers]
    size = _SIZES["quick" if args.quick else "whole"]
    try:
        described = described_images(args.images, matchers, size)
    except UserError as error:
        sys.exit(f"decontamination.py: {error}")
    places = altered_places(described, args.altered or size[-1])
    measured, _ = measure(described, places, matchers, "altered copies")
    told = [figures_of(one) for one in measured]
    show("Altered copies found, % (95 % interval)", told, group_rows(told))
    show("Altered copies found, %, by alteration", told, alteration_rows(told))
    show("False matches per 10⁶ pairs (95 % upper bound)", told, false_rows(told))
    for one in told:
        cost = one["cost"]
        print(
            f"{one['matcher']}: {one['version']}; {cost['image_us']:,g} µs of CPU an image, "
            f"{cost['pair_us']:,g} µs a pair; chosen on one half: {one['threshold_chosen']:g}"
        )
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")
    seconds = round(time.perf_counter() - begun)
    print(
        f"{len(described):,} images, {len(places)} altered, {worker_count()} processes, {seconds} s"
    )
    print(json.dumps({"matchers": told, "left_out": left_out, "images": len(described),
                      "altered": len(places), "seconds": seconds}))  # fmt: skip


if __name__ == "__main__":
    main()
