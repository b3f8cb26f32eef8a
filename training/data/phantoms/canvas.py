"""A canvas for soft-edged anatomy: ellipses, strokes, outlines, smooth noise and smooth warps on one float image.

Lengths are in half image sides: x runs from -1 (left) to 1 (right), y from -1 (top) to 1 (bottom). What is painted is
data: `anatomy.toml`, whose head explains its form.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from PIL import Image

ANATOMY = tomllib.loads((Path(__file__).parent / "anatomy.toml").read_text(encoding="utf-8"))
TABLE = 2880  # directions at which an outline's radius is tabulated: below a pixel at 512 px
STEPS = 4  # pieces of a curve between two of its points

Point = Sequence[float]


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """Bicubic resize of an array to (size, size) float32."""
    return np.asarray(Image.fromarray(pixels.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC))


def ramp(distance: np.ndarray, soft: float) -> np.ndarray:
    """Cover of a shape from the signed distance to its edge (positive inside): 0 to 1 over a width of `soft`."""
    return np.clip(distance / soft + 0.5, 0, 1)


def wobble(rng: np.random.Generator, amount: float, waves: int = 7) -> np.ndarray:
    """A random periodic curve for `Outline.grown`, of spread `amount`."""
    angle = np.arange(TABLE) * (2 * np.pi / TABLE)
    orders = np.arange(1, waves + 1)
    weights = rng.standard_normal(waves) / np.sqrt(orders)
    phases = rng.uniform(0, 2 * np.pi, waves)
    return amount * (np.cos(np.outer(angle, orders) + phases) @ weights)


class Outline(NamedTuple):
    """A closed curve around a center: a radius for each of TABLE directions, counter-clockwise from the right."""

    center: Point
    table: np.ndarray

    @classmethod
    def smooth(cls, center: Point, radii: Mapping[str, float], smoothing: float) -> "Outline":
        """From the radii in some directions, in degrees, smoothed over `smoothing` degrees."""
        angles = [float(key) for key in radii]
        table = np.interp(np.arange(TABLE) * 360 / TABLE, angles, list(radii.values()), period=360)
        half = int(smoothing * TABLE / 360)
        kernel = np.hanning(2 * half + 1)
        table = np.convolve(np.pad(table, half, mode="wrap"), kernel / kernel.sum(), mode="valid")
        return cls(center, table.astype(np.float32))

    def grown(self, by: float | np.ndarray) -> "Outline":
        """The curve moved outward by a length, or by one length per direction of the table."""
        return Outline(self.center, (self.table + by).astype(np.float32))

    def at(self, degrees: float) -> tuple[float, float]:
        """Point of the curve in a direction."""
        radius, turn = float(self.table[round(degrees * TABLE / 360) % TABLE]), np.deg2rad(degrees)
        return self.center[0] + radius * float(np.cos(turn)), self.center[1] - radius * float(np.sin(turn))


class Canvas:
    """A square float32 image in `pixels`, black at first; every method paints over what is there.

    `tissues`: signal of each tissue, as attributes.
    """

    def __init__(self, size: int, rng: np.random.Generator, tissues: SimpleNamespace | None = None):
        self.size, self.rng, self.tissues = size, rng, tissues or SimpleNamespace()
        self.pixel = 2 / size
        self.soft = max(1.3 * self.pixel, 0.007)  # default width of an edge
        line = ((np.arange(size) + 0.5) * self.pixel - 1).astype(np.float32)
        self.x, self.y = line[None, :], line[:, None]
        self.pixels = np.zeros((size, size), dtype=np.float32)
        self._polar: dict[Point, tuple[np.ndarray, np.ndarray]] = {}

    def noise(self, cells: float, tall: float = 1.0) -> np.ndarray:
        """Smooth noise of mean 0 and spread of about 1: (size, size) float32.

        `cells`: bumps across the image; `tall`: how much higher than wide a bump is.
        """
        knots = int(np.ceil(cells)) + 2
        lattice = Image.fromarray(self.rng.standard_normal((knots, knots), dtype=np.float32) * 1.4)
        left, top = self.rng.random(2) * (knots - cells)
        box = (left, top, left + cells, top + cells / tall)
        return np.asarray(lattice.resize((self.size, self.size), Image.Resampling.BICUBIC, box=box))

    def polar(self, center: Point) -> tuple[np.ndarray, np.ndarray]:
        """Distance from a center, and the direction as an index into an outline's table; both (size, size)."""
        if center not in self._polar:
            x, y = self.x - center[0], self.y - center[1]
            direction = np.arctan2(-y, x) * (TABLE / (2 * np.pi))
            self._polar[center] = np.hypot(x, y), direction.astype(np.int32) % TABLE
        return self._polar[center]

    def inside(self, outline: Outline) -> np.ndarray:
        """Distance to the outline along the rays from its center, positive inside: (size, size) float32."""
        radius, direction = self.polar(outline.center)
        return outline.table[direction] - radius

    def fill(self, cover: np.ndarray, value: float | np.ndarray) -> None:
        """Paint `value` where `cover` is 1, and in part where it is less."""
        self.pixels += cover * (value - self.pixels)

    def paint(self, name: str, **values: float) -> None:
        """Paint the parts of `anatomy.toml` under `name`; `values`: what words in its numbers mean beside tissues."""
        values = vars(self.tissues) | values
        for both, parts in groupby(ANATOMY["parts"][name], lambda part: part.get("both", False)):
            shapes = [_evaluated(part, values) for part in parts]
            for side in (-1, 1) if both else (1,):
                for shape in shapes:
                    (self.ellipse if "at" in shape else self.stroke)(side=side, **shape)

    def distance_to(self, name: str, both: bool = False) -> np.ndarray:
        """Distance of every pixel to a curve of `anatomy.toml`, or to it and its mirror image: (size, size) float32."""
        lines = [_curve([(side * x, y) for x, y in ANATOMY["curves"][name]], 0) for side in (1, -1)[: 1 + both]]
        # Every other pixel will do: distances are smooth.
        return np.minimum.reduce([-resized(_inside(line, self.x[:, ::2], self.y[::2]), self.size) for line in lines])

    def ellipse(
        self, value: float, at: Point, radii: Point, turn: float = 0.0, soft: float = 0.0, side: int = 1
    ) -> None:
        """Filled ellipse with half axes `radii`, turned by `turn` degrees; mirrored if `side` is -1."""
        (rx, ry), center, turn, soft = radii, (side * at[0], at[1]), side * turn, max(soft, self.soft)
        rows, columns = self._around([center], max(rx, ry) + soft)
        x, y = self.x[:, columns] - center[0], self.y[rows] - center[1]
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))  # plain floats keep arrays float32
        along, across = (x * cos - y * sin) / rx, (x * sin + y * cos) / ry
        patch = self.pixels[rows, columns]
        patch += ramp((1 - np.hypot(along, across)) * min(rx, ry), soft) * (value - patch)

    def stroke(
        self,
        value: float,
        line: str | Sequence[Point],
        width: float | Sequence[float],
        soft: float = 0.0,
        opacity: float = 1.0,
        side: int = 1,
    ) -> None:
        """Smooth line through points, or along a curve of the table; `width` across: one, or one per point."""
        points = ANATOMY["curves"][line] if isinstance(line, str) else line
        path, soft = _curve([(side * x, y) for x, y in points], width), max(soft, self.soft)
        rows, columns = self._around(path, path[:, 2].max() / 2 + soft)
        patch = self.pixels[rows, columns]
        patch += opacity * ramp(_inside(path, self.x[:, columns], self.y[rows]), soft) * (value - patch)

    def _around(self, points: Sequence[Point], reach: float) -> tuple[slice, slice]:
        """Rows and columns within `reach` of the points."""
        slices = []
        for values in ([point[1] for point in points], [point[0] for point in points]):
            first = int((min(values) - reach - 0.02 + 1) / self.pixel)
            last = int((max(values) + reach + 0.02 + 1) / self.pixel) + 1
            slices.append(slice(min(max(first, 0), self.size - 1), min(max(last, 1), self.size)))
        return slices[0], slices[1]


def _evaluated(form, values: Mapping[str, float]):
    """A part of the table with its numbers in quotes worked out: "0.5 gray + 0.5 white", "0.06 wide"."""
    if isinstance(form, dict):
        return {key: _evaluated(value, values) for key, value in form.items() if key != "both"}
    if isinstance(form, list):
        return [_evaluated(value, values) for value in form]
    if isinstance(form, str) and form not in ANATOMY["curves"]:
        factors = (
            [values[word] if word in values else float(word) for word in term.split()] for term in form.split("+")
        )
        return sum(map(math.prod, factors))
    return form


def _inside(path: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to the edge of a stroke, positive inside; rows of `path` are x, y and width."""
    pieces = []
    for (x0, y0, w0), (x1, y1, w1) in pairwise(path.tolist()):
        dx, dy = x1 - x0, y1 - y0
        share = np.clip((x - x0) * (dx / (dx * dx + dy * dy)) + (y - y0) * (dy / (dx * dx + dy * dy)), 0, 1)
        pieces.append(w0 / 2 + share * ((w1 - w0) / 2) - np.hypot(x - (x0 + share * dx), y - (y0 + share * dy)))
    return np.maximum.reduce(pieces)


def _curve(points: Sequence[Point], width: float | Sequence[float]) -> np.ndarray:
    """Catmull-Rom curve through points: (n, 3) rows of x, y, width."""
    knots = np.column_stack([np.asarray(points, dtype=float), np.broadcast_to(width, len(points)).astype(float)])
    if len(knots) < 3:
        return knots
    padded = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    a, b, c, d = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    t = (np.arange(STEPS) / STEPS)[None, :, None]
    bends = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.vstack([bends.reshape(-1, 3), knots[-1:]])


def warped(pixels: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sample float32 `pixels` bilinearly at `x`, `y` (half sides): black outside, but a neck goes on below."""
    size = pixels.shape[0]
    padded = np.pad(pixels, 1)
    padded[-1] = padded[-2]
    column, row = (np.clip((place + 1) * (size / 2) + 0.5, 0, size + 0.99).astype(np.float32) for place in (x, y))
    left, top = column.astype(np.int32), row.astype(np.int32)
    right_share, bottom_share = column - left.astype(np.float32), row - top.astype(np.float32)
    upper, lower = (
        padded[line, left] * (1 - right_share) + padded[line, left + 1] * right_share for line in (top, top + 1)
    )
    return upper * (1 - bottom_share) + lower * bottom_share
