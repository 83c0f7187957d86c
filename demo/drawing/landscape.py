"""The sky, distance and ground against which the demo's scenes are set."""

import random
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from demo.drawing.ink import RGB, Pixels, generator, smooth_noise, stretched

_TEXTURE_PX = 256


@dataclass(frozen=True)
class Sky:
    """Colours of one kind of sky; `tint` and `dusk` are its effects on things and on land."""

    top: RGB
    low: RGB
    cloud: RGB
    cover: float
    dusk: float
    tint: tuple[float, float, float]
    hides: frozenset[str]


@dataclass(frozen=True)
class Ground:
    """Colours of one kind of ground; `hides` names the colours that do not stand out on it."""

    near: RGB
    far: RGB
    distance: RGB
    roughness: float
    kinds: tuple[str, ...]
    hides: frozenset[str]


@dataclass(frozen=True)
class Landscape:
    """An empty scene in three planes of colour, lit from the left (-1) to the right (1)."""

    planes: Pixels
    ground: str
    sky: str
    horizon_px: int
    light_from: float


SKIES: Final[dict[str, Sky]] = {
    "clear": Sky(
        (52, 118, 208), (196, 220, 240), (255, 255, 255), 0.0, 1.0, (1, 1, 1), frozenset({"blue"})
    ),
    "cloudy": Sky(
        (70, 130, 208), (190, 212, 232), (250, 250, 250), 1.0, 0.96, (0.99, 0.99, 1),
        frozenset({"blue", "white"}),
    ),
    "overcast": Sky(
        (150, 156, 164), (206, 208, 210), (100, 106, 116), 0.9, 0.88, (0.95, 0.96, 0.97),
        frozenset({"white"}),
    ),
    "sunset": Sky(
        (74, 58, 122), (255, 158, 78), (214, 92, 88), 0.7, 0.82, (1.03, 0.95, 0.9),
        frozenset({"orange", "pink", "purple"}),
    ),
    "night": Sky(
        (12, 18, 50), (46, 58, 106), (58, 66, 100), 0.3, 0.46, (0.93, 0.93, 0.97),
        frozenset({"black", "blue", "purple"}),
    ),
}  # fmt: skip
GROUNDS: Final[dict[str, Ground]] = {
    "beach": Ground(
        (216, 190, 138), (238, 222, 186), (38, 98, 138), 0.16,
        ("ball", "umbrella", "dog", "kite", "balloon"), frozenset({"yellow", "orange", "white"}),
    ),
    "meadow": Ground(
        (66, 118, 40), (150, 178, 92), (62, 92, 74), 0.42,
        ("ball", "house", "tree", "kite", "dog", "tent", "balloon"), frozenset({"green"}),
    ),
    "street": Ground(
        (88, 88, 92), (136, 136, 140), (104, 96, 96), 0.22,
        ("car", "house", "tree", "balloon", "dog"), frozenset({"black", "white"}),
    ),
    "snow": Ground(
        (220, 230, 250), (244, 249, 255), (96, 116, 132), 0.07,
        ("house", "tree", "car", "dog", "tent", "ball"), frozenset({"white"}),
    ),
    "desert": Ground(
        (202, 142, 80), (230, 178, 116), (158, 94, 66), 0.15,
        ("tent", "car", "balloon", "kite", "ball"), frozenset({"orange", "yellow", "pink"}),
    ),
    "lake": Ground(
        (36, 84, 112), (130, 172, 192), (54, 80, 66), 0.34,
        ("boat", "duck", "kite", "balloon"), frozenset({"blue"}),
    ),
    "deck": Ground(
        (134, 92, 60), (176, 136, 100), (46, 78, 44), 0.3,
        ("cup", "ball", "dog", "umbrella"), frozenset({"orange", "black"}),
    ),
}  # fmt: skip
_CELLS: Final = {
    "beach": (60, 60), "meadow": (120, 40), "street": (90, 90), "snow": (20, 30),
    "desert": (16, 48), "lake": (10, 64), "deck": (64, 6),
}  # fmt: skip
"""How many patches each ground's texture has across and along."""


def draw_landscape(rng: random.Random, width_px: int, height_px: int) -> Landscape:
    ground, sky = rng.choice(list(GROUNDS)), rng.choice(list(SKIES))
    horizon_px = round(height_px * rng.uniform(0.27, 0.62))
    view = _View(rng, generator(rng), GROUNDS[ground], SKIES[sky], width_px, height_px, horizon_px)
    planes = np.empty((3, height_px, width_px), dtype=np.float32)
    planes[:, :horizon_px] = _heaven(view)
    _add_distance(view, planes[:, :horizon_px])
    planes[:, horizon_px:] = _floor(view, _texture(ground))
    if ground == "snow":
        _add_flecks(view, planes, view.width)
    planes *= _light(view)
    return Landscape(planes, ground, sky, horizon_px, rng.uniform(-1, 1))


@dataclass(frozen=True)
class _View:
    """What the parts of one landscape have in common."""

    rng: random.Random
    noise: np.random.Generator
    ground: Ground
    sky: Sky
    width: int
    height: int
    horizon: int

    def wander(self, height: int, columns: int, rows: int) -> Pixels:
        return smooth_noise(self.noise, self.width, height, columns, rows)

    def tinted(self, colour: RGB) -> Pixels:
        """The colour as it looks on land under this sky."""
        return _plane(colour) * _plane(self.sky.tint) * np.float32(self.sky.dusk)


def _heaven(view: _View) -> Pixels:
    sky, height = view.sky, view.horizon
    depth = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    depth = np.clip(depth + 0.2 * view.wander(height, 4, 3), 0, 1)
    planes = _blend(_plane(sky.top), _plane(sky.low), depth)
    if sky.cover:
        billows = view.wander(height, view.rng.randint(4, 7), view.rng.randint(4, 7))
        billows += 0.5 * view.wander(height, 18, 16)
        share = np.clip(billows * 2 - view.rng.uniform(-0.2, 0.4), 0, 1) * sky.cover
        planes = _blend(planes, _plane(sky.cloud), share)
    if sky is SKIES["night"]:
        _add_flecks(view, planes, view.width // 4)
    return planes


def _add_flecks(view: _View, planes: Pixels, count: int) -> None:
    """Stars or snowflakes."""
    rows = view.noise.integers(0, planes.shape[1], count)
    columns = view.noise.integers(0, view.width, count)
    planes[:, rows, columns] += view.noise.random(count, dtype=np.float32) * 200


def _add_distance(view: _View, planes: Pixels) -> None:
    """One to three receding ridges above the horizon, of hills, trees or roofs."""
    horizon = view.horizon
    layers = 1 if view.ground is GROUNDS["beach"] else view.rng.randint(1, 3)
    for layer in range(layers):
        haze = 0.6 * (1 - (layer + 1) / layers) + 0.1
        colour = _blend(view.tinted(view.ground.distance), _plane(view.sky.low), haze)
        rise = view.rng.uniform(0.14, 0.36) * view.height / (layer + 1)
        profile = horizon - rise * _ridge(view)
        top = max(0, int(profile.min()) - 1)
        cover = np.clip(np.arange(top, horizon)[:, None] - profile + np.float32(0.5), 0, 1)
        relief = 1 + 0.25 * view.wander(horizon - top, 26, 9)
        planes[:, top:] = _blend(planes[:, top:], colour * relief, cover)


def _ridge(view: _View) -> Pixels:
    """The height of a skyline, 0 to about 1, along the image's width."""
    line = 0.5 + 0.6 * view.wander(1, view.rng.randint(3, 7), 1)[0]
    if view.ground is GROUNDS["street"]:
        step_px = view.rng.randint(14, 30)
        roofs = line[::step_px] + 0.5 * view.noise.random(-(-view.width // step_px))
        return np.repeat(roofs, step_px)[: view.width].astype(np.float32)
    if view.ground is GROUNDS["beach"]:
        return np.full(view.width, 0.6, dtype=np.float32)
    return np.asarray(line + 0.12 * view.wander(1, 40, 1)[0], dtype=np.float32)


def _floor(view: _View, texture: Pixels) -> Pixels:
    """The ground, its texture seen in perspective from the near edge to the horizon."""
    height = view.height - view.horizon
    near = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    depth = 1.1 / (near + 0.1)
    centre = view.width * view.rng.uniform(0.2, 0.8)
    along = (depth * 150 + view.rng.randrange(_TEXTURE_PX)).astype(np.intp) % _TEXTURE_PX
    across = (np.arange(view.width, dtype=np.float32) - centre) * depth * 1.4
    detail = texture[along, across.astype(np.intp) % _TEXTURE_PX]
    bright = 1 + detail * (view.ground.roughness * (0.25 + 0.75 * near))
    ground = _blend(view.tinted(view.ground.far), view.tinted(view.ground.near), near)
    return np.asarray(ground * bright, dtype=np.float32)


@cache
def _texture(ground: str) -> Pixels:
    """A tile of relative brightness, seen from straight above."""
    noise = np.random.default_rng(len(ground))
    tile = _tile(noise, *_CELLS[ground]) + 0.6 * _tile(noise, 12, 12)
    tile += 0.5 * _tile(noise, _TEXTURE_PX, _TEXTURE_PX)
    if ground == "street":
        tile[:150, 60:70] = 3.2
    if ground == "deck":
        tile += np.repeat(noise.uniform(-0.5, 0.5, 8), _TEXTURE_PX // 8).astype(np.float32)
        tile[:, :: _TEXTURE_PX // 8] = -2.4
    return tile


def _tile(noise: np.random.Generator, columns: int, rows: int) -> Pixels:
    """Smooth noise whose opposite edges meet."""
    coarse = np.tile(noise.random((rows, columns), dtype=np.float32) * 2 - 1, (3, 3))
    size_px = _TEXTURE_PX
    return stretched(coarse, size_px * 3, size_px * 3)[size_px:-size_px, size_px:-size_px]


def _light(view: _View) -> Pixels:
    """Broad patches of light and shade, a glow to one side and dark edges here and there."""
    patches = 0.42 * view.wander(view.height, 4, 4) + 0.36 * view.wander(view.height, 8, 8)
    across = np.linspace(0, 1, view.width, dtype=np.float32)
    down = np.linspace(0, 1, view.height, dtype=np.float32)[:, None]
    left, top = view.rng.uniform(0, 1), view.rng.uniform(0, 0.5)
    glow = np.exp(-((across - left) ** 2) * 9) * np.exp(-((down - top) ** 2) * 9)
    # Lamps and moonlight make for starker contrasts than the sun does.
    stark = view.sky.dusk**-0.8
    light = np.exp(patches * stark) + view.rng.uniform(0, 0.4) * stark * glow
    light = np.clip(light, 0.4, 1.5 * stark)
    if not view.sky.cover:
        # Gentle enough that a clear sky is not taken for a cloudy one.
        light[: view.horizon] **= 0.55
    return np.asarray(light, dtype=np.float32)


def _plane(colour: RGB | tuple[float, float, float]) -> Pixels:
    return np.asarray(colour, dtype=np.float32)[:, None, None]


def _blend(first: Pixels, second: Pixels, share: Pixels | float) -> Pixels:
    return first + (second - first) * share
