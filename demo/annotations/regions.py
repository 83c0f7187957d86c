"""Boxes and phrases for parts of a scene, in LLaVA's form of RefCOCO and Visual Genome."""

import random
import re

from demo.annotations.questions import Exchange, names
from demo.drawing.album import DrawnImage
from demo.drawing.ink import Box
from demo.drawing.scenes import Scene

BOX_PROMPT = "Please provide the bounding box coordinate of the region this sentence describes: "
REGION_PROMPT = "Please provide a short description for this region: "
_SMALLEST_PART_PX = 14
_PART = re.compile(" (half|quarter) of ")


def padded_box(box: Box, size: tuple[int, int]) -> str:
    """Write a box in pixels as LLaVA does: in shares of the image padded to a square.

    LLaVA pads the shorter side on both ends alike (expand2square, haotian-liu/LLaVA).
    """
    side = max(size)
    across, down = (side - size[0]) / 2, (side - size[1]) / 2
    left, top, right, bottom = box
    shares = (left + across, top + down, right + across, bottom + down)
    return "[" + ", ".join(f"{share / side:.2f}" for share in shares) + "]"


def regions(scene: Scene) -> list[tuple[str, Box]]:
    """Return a phrase and a box for each thing, for the sign, and for parts of them."""
    sign = f"{scene.sign_colour} sign"
    found = [(f"the {sign} that says {scene.word}", scene.sign_box)]
    found += [(f"the {part} of the {sign}", box) for part, box in _parts(scene.sign_box)]
    for name, thing in zip(names(scene), scene.things, strict=True):
        found.append((f"the {name}", thing.box))
        found += [(f"the {part} of the {name}", box) for part, box in _parts(thing.box)]
    return found


def _parts(box: Box) -> list[tuple[str, Box]]:
    """Return halves, then quarters, that are large enough to be recognisable."""
    left, top, right, bottom = box
    across, down = (left + right) // 2, (top + bottom) // 2
    columns = {"left": (left, across), "right": (across, right)}
    rows = {"upper": (top, down), "lower": (down, bottom)}
    parts = [(f"{name} half", (x[0], top, x[1], bottom)) for name, x in columns.items()]
    parts += [(f"{name} half", (left, y[0], right, y[1])) for name, y in rows.items()]
    parts += [
        (f"{row} {column} quarter", (x[0], y[0], x[1], y[1]))
        for row, y in rows.items()
        for column, x in columns.items()
    ]
    return [(n, b) for n, b in parts if min(b[2] - b[0], b[3] - b[1]) >= _SMALLEST_PART_PX]


def region_exchanges(
    image: DrawnImage[Scene], rng: random.Random, most: int, *, whole_things: bool = False
) -> list[Exchange]:
    """Return at most `most` exchanges that ask for the box of a phrase, or for a phrase."""
    found = [r for r in regions(image.facts) if not (whole_things and _PART.search(r[0]))]
    exchanges: list[Exchange] = []
    for phrase, box in rng.sample(found, min(most, len(found))):
        written = padded_box(box, image.size)
        if rng.random() < 0.5:
            exchanges.append((f"{BOX_PROMPT}{phrase}.", written))
        else:
            exchanges.append((f"{REGION_PROMPT}{written}.", f"{phrase[0].upper()}{phrase[1:]}."))
    return exchanges
