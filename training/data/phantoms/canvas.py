"""A canvas for soft-edged anatomy: ellipses, strokes, outlines, smooth noise and smooth warps on one float image.

Lengths are in half image sides: x runs from -1 (left) to 1 (right), y from -1 (top) to 1 (bottom), at any pixel size.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

Point = tuple[float, float]
TABLE = 2880  # directions at which an outline's radius is tabulated: below a pixel at 512 px


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """Bicubic resize of a float32 array to (size, size)."""
    return np.asarray(Image.fromarray(pixels.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC))


def smooth_noise(rng: np.random.Generator, size: int, cells: float, tall: float = 1.0) -> np.ndarray:
    """Noise of mean 0 and spread of about 1: (size, size) float32.

    `cells`: bumps across the image; `tall`: how much higher than wide a bump is.
    """
    knots = int(np.ceil(cells)) + 2
    lattice = Image.fromarray(rng.standard_normal((knots, knots), dtype=np.float32) * 1.4)
    left, top = rng.random(2) * (knots - cells)
    box = (left, top, left + cells, top + cells / tall)
    return np.asarray(lattice.resize((size, size), Image.Resampling.BICUBIC, box=box))


def ramp(distance: np.ndarray, soft: float) -> np.ndarray:
    """Cover of a shape from the signed distance to its edge (positive inside): 0 to 1 over a width of `soft`."""
    return np.clip(distance / soft + 0.5, 0, 1)


class Outline:
    """A closed curve around a center: a smooth radius for each direction (degrees, 0 right, 90 up)."""

    def __init__(self, center: Point, radii: dict[float, float], smoothing: float = 14):
        self.center = center
        angles = np.arange(TABLE) * 360 / TABLE
        table = np.interp(angles, list(radii), list(radii.values()), period=360)
        half = int(smoothing * TABLE / 360)
        kernel = np.hanning(2 * half + 1)
        table = np.convolve(np.pad(table, half, mode="wrap"), kernel / kernel.sum(), mode="valid")
        self.table = table.astype(np.float32)

    def grown(self, by: float | np.ndarray) -> "Outline":
        """The curve moved outward by a length, or by one length per direction of the table."""
        other = object.__new__(Outline)
        other.center, other.table = self.center, (self.table + by).astype(np.float32)
        return other

    def at(self, degrees: float) -> Point:
        """Point of the curve in a direction."""
        radius = float(self.table[round(degrees * TABLE / 360) % TABLE])
        turn = np.deg2rad(degrees)
        return self.center[0] + radius * float(np.cos(turn)), self.center[1] - radius * float(np.sin(turn))


class Canvas:
    """A square float32 image in `pixels`, black at first; every method paints over what is there."""

    def __init__(self, size: int, rng: np.random.Generator):
        self.size, self.rng = size, rng
        self.pixel = 2 / size
        self.soft = max(1.3 * self.pixel, 0.007)  # default width of an edge
        line = ((np.arange(size) + 0.5) * self.pixel - 1).astype(np.float32)
        self.x, self.y = line[None, :], line[:, None]
        self.pixels = np.zeros((size, size), dtype=np.float32)
        self._polar: dict[Point, tuple[np.ndarray, np.ndarray]] = {}

    def noise(self, cells: float, tall: float = 1.0) -> np.ndarray:
        return smooth_noise(self.rng, self.size, cells, tall)

    def direction(self, center: Point) -> np.ndarray:
        """Direction from a center in radians, 0 to 2 pi: (size, size) float32."""
        return self._polar_around(center)[1].astype(np.float32) * (2 * math.pi / TABLE)

    def inside(self, outline: Outline) -> np.ndarray:
        """Distance to the outline along the rays from its center, positive inside: (size, size) float32."""
        radius, direction = self._polar_around(outline.center)
        return outline.table[direction] - radius

    def _polar_around(self, center: Point) -> tuple[np.ndarray, np.ndarray]:
        """Distance from a center, and the direction as an index into an outline's table."""
        if center not in self._polar:
            x, y = self.x - center[0], self.y - center[1]
            direction = np.arctan2(-y, x) * (TABLE / (2 * np.pi))
            self._polar[center] = np.hypot(x, y), direction.astype(np.int32) % TABLE
        return self._polar[center]

    def fill(self, cover: np.ndarray, value: float | np.ndarray) -> None:
        self.pixels += cover * (value - self.pixels)

    def ellipse(
        self,
        value: float,
        center: Point,
        rx: float,
        ry: float,
        turn: float = 0.0,
        soft: float = 0.0,
    ) -> None:
        """Filled ellipse with half axes `rx`, `ry`, turned counter-clockwise by `turn` degrees."""
        soft = max(soft, self.soft)
        reach = max(rx, ry) + soft
        rows, columns = self._around([center], reach)
        x, y = self.x[:, columns] - center[0], self.y[rows] - center[1]
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))  # plain floats keep arrays float32
        along, across = (x * cos - y * sin) / rx, (x * sin + y * cos) / ry
        cover = ramp((1 - np.hypot(along, across)) * min(rx, ry), soft)
        patch = self.pixels[rows, columns]
        patch += cover * (value - patch)

    def stroke(
        self,
        value: float,
        points: Sequence[Point],
        width: float | Sequence[float],
        soft: float = 0.0,
        opacity: float = 1.0,
    ) -> None:
        """Smooth line through `points`, `width` across (one, or one per point)."""
        line = curve(points, np.broadcast_to(np.asarray(width, dtype=float), len(points)))
        soft = max(soft, self.soft)
        rows, columns = self._around(line, line[:, 2].max() / 2 + soft)
        cover = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=np.float32)
        for start, end in zip(line[:-1].tolist(), line[1:].tolist(), strict=True):
            near_rows, near_columns = self._around((start, end), max(start[2], end[2]) / 2 + soft)
            inside = _along(start, end, self.x[:, near_columns], self.y[near_rows])
            part = cover[
                near_rows.start - rows.start : near_rows.stop - rows.start,
                near_columns.start - columns.start : near_columns.stop - columns.start,
            ]
            np.maximum(part, ramp(inside, soft), out=part)
        patch = self.pixels[rows, columns]
        patch += opacity * cover * (value - patch)

    def distance_to(self, points: Sequence[Point]) -> np.ndarray:
        """Distance of every pixel to a smooth line through `points`: (size, size) float32."""
        line = curve(points, np.zeros(len(points))).tolist()
        x, y = self.x[:, ::2], self.y[::2]  # every other pixel will do: distances are smooth
        inside = [_along(start, end, x, y) for start, end in zip(line[:-1], line[1:], strict=True)]
        return -resized(np.maximum.reduce(inside), self.size)

    def _around(self, points: Sequence[Point], reach: float) -> tuple[slice, slice]:
        slices = []
        for axis in (1, 0):
            values = [point[axis] for point in points]
            first = int((min(values) - reach - 0.02 + 1) / self.pixel)
            last = int((max(values) + reach + 0.02 + 1) / self.pixel) + 1
            slices.append(slice(min(max(first, 0), self.size - 1), min(max(last, 1), self.size)))
        return slices[0], slices[1]


def _along(start: list[float], end: list[float], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to the edge of a piece of a stroke, positive inside; its ends are x, y, width."""
    (x0, y0, w0), (x1, y1, w1) = start, end
    dx, dy = x1 - x0, y1 - y0
    share = np.clip((x - x0) * (dx / (dx * dx + dy * dy)) + (y - y0) * (dy / (dx * dx + dy * dy)), 0, 1)
    return w0 / 2 + share * ((w1 - w0) / 2) - np.hypot(x - (x0 + share * dx), y - (y0 + share * dy))


def curve(points: Sequence[Point], widths: np.ndarray, steps: int = 4) -> np.ndarray:
    """Catmull-Rom curve through points: (n, 3) rows of x, y, width."""
    knots = np.column_stack([np.asarray(points, dtype=float), widths])
    if len(knots) < 3:
        return knots
    padded = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    a, b, c, d = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    t = (np.arange(steps) / steps)[None, :, None]
    bends = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.vstack([bends.reshape(-1, 3), knots[-1:]])


def warped(pixels: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sample float32 `pixels` bilinearly at `x`, `y` (half sides): black outside, but a neck goes on below."""
    size = pixels.shape[0]
    padded = np.pad(pixels, 1)
    padded[-1] = padded[-2]
    column = np.clip((x + 1) * (size / 2) + 0.5, 0, size + 0.99).astype(np.float32)
    row = np.clip((y + 1) * (size / 2) + 0.5, 0, size + 0.99).astype(np.float32)
    left, top = column.astype(np.int32), row.astype(np.int32)
    right_share, bottom_share = column - left.astype(np.float32), row - top.astype(np.float32)
    flat, stride = padded.ravel(), size + 2
    corner = top * stride + left
    upper = flat[corner] * (1 - right_share) + flat[corner + 1] * right_share
    lower = flat[corner + stride] * (1 - right_share) + flat[corner + stride + 1] * right_share
    return upper * (1 - bottom_share) + lower * bottom_share
