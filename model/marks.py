"""Is something drawn on a slice: an ellipse, arrow, letter or ruler, in pure white or in color?

Marks change the answer, and no network here has learned to look past them. In gray they are told from tissue by what no
scanner and no window makes: lines as bright as the slice can be, of one width and brightness, on smooth curves, with
edges that are sharper than all others of the same slice. `LINES` weighs these signs; training/marks.py fits it.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from .preprocess import FOREGROUND, LINE_SHARE

DRAWN_ON = (
    "Something is drawn on this slice (white or colored lines); marks change the answer. Upload the slice without them."
)
SATURATED = 64  # of 255: parts of a color that differ by as much, and by half of the largest, are no tint
FEWEST_COLORED = 10  # pixels: a dot of JPEG's noise has fewer, the shortest arrow more
MOST_COLORED = 0.25  # of the head: more of it is a color map or the tint of a film, and no mark
BRIGHT = 200  # of 255, where JPEG and the pixels at the edge of a thin line leave its middle
DROP = 50  # by which it is darker two pixels beyond a line, on both sides
WIDEST = 8  # pixels of a line, measured along a row or column
FEWEST_ROWS = 5  # that a line passes through
NOISE = 8  # between neighbors: what is steeper is an edge
ON_HEAD = 0.9  # of the squared radius of the head's ellipse: the sides of a frame around the slice touch its edge
FAR = 4  # times as bright as nearly all of a slice: what a mark at the maximum of 16 bits is, and no tissue
LARGEST = 1024  # pixels of the longer side: larger slices are reduced, and their lines with them
LINES = {
    name: np.array(values) for name, values in json.loads(Path(__file__).with_name("marks.json").read_text()).items()
}


def has_color(rgb: np.ndarray) -> bool:
    """Whether there is color on the head in a picture that is gray otherwise: (h, w, 3), unsigned."""
    red, green, blue = (rgb[..., i] for i in range(3))
    white = 255 if rgb.dtype == np.uint8 else rgb.max()
    highest = np.maximum(np.maximum(red, green), blue)
    ranges = highest - np.minimum(np.minimum(red, green), blue)
    colored = (ranges >= max(1, white * (SATURATED / 255))) & (ranges >= highest // 2)
    if np.count_nonzero(colored) < FEWEST_COLORED:
        return False
    top, left, height, width = head_ellipse(_as_bytes(np.where(colored, 0, green)))
    y, x = np.nonzero(colored)
    on_head = np.count_nonzero(((y - top) / height) ** 2 + ((x - left) / width) ** 2 < ON_HEAD)
    return FEWEST_COLORED <= on_head < MOST_COLORED * np.pi * height * width


def has_lines(pixels: np.ndarray) -> bool:
    """Whether white lines are drawn on the head in a slice (h, w) of any real dtype."""
    signs, _ = signs_of_lines(pixels)
    return bool(len(signs)) and bool((score(signs, **LINES) > 0).any())


def score(signs: np.ndarray, mean, scale, inner, inner_bias, outer, bias) -> np.ndarray:  # noqa: PLR0913
    """(N, signs) -> (N,): above 0 for what is drawn. One hidden layer; the arguments are the parts of `LINES`."""
    return np.tanh((signs - mean) / scale @ inner + inner_bias) @ outer + bias


def signs_of_lines(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A slice (h, w) -> what may be lines on its head.

    Returns: float64 (N, 17), which `score` judges, and int (N, 2), row and column of the middle of each, in pixels of
    the slice after it was reduced.
    """
    gray = _as_bytes(np.asarray(pixels))
    if max(gray.shape) > LARGEST:
        gray = np.asarray(Image.fromarray(gray).reduce(-(-max(gray.shape) // LARGEST)))
    ellipse = head_ellipse(gray)
    turned = ellipse[1], ellipse[0], ellipse[3], ellipse[2]
    down, across = _lines(gray, ellipse), _lines(np.ascontiguousarray(gray.T), turned)
    signs = np.concatenate((down[0], across[0]))
    if not len(signs):
        return np.zeros((0, 17)), np.zeros((0, 2), int)
    middles = np.concatenate((down[1], across[1][:, ::-1]))
    edges = np.maximum(gray[:, 1:], gray[:, :-1]) - np.minimum(gray[:, 1:], gray[:, :-1])
    counts = np.array(Image.fromarray(edges).histogram())
    counts = np.where(np.arange(256) > NOISE, counts, 0).cumsum()
    steep = np.searchsorted(counts, counts[-1] * np.array((0.9, 0.99)))
    bright = np.count_nonzero(gray >= BRIGHT) / gray.size
    of_slice = (*np.log(steep / 100 + 0.02), np.log(bright + 0.01), np.log(1 + len(signs)))
    return np.concatenate((signs, np.tile(of_slice, (len(signs), 1))), axis=1), middles


def _as_bytes(pixels: np.ndarray) -> np.ndarray:
    """uint8: from the darkest value, 0 where none is below, to the brightest, or to what is far above all tissue."""
    if pixels.dtype == np.uint8 and pixels.max() >= 250:
        return pixels
    pixels = np.nan_to_num(pixels.astype(np.float32), posinf=0, neginf=0)
    low, high = min(0, float(pixels.min())), float(pixels.max())
    tissue = float(np.percentile(pixels[::4, ::4], 98)) - low
    if 0 < tissue * FAR < high - low:
        high = low + tissue * FAR
    return (np.clip((pixels - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)


def head_ellipse(gray: np.ndarray) -> tuple[float, float, float, float]:
    """Middle and half axes, along rows and columns, of the ellipse in the box that `preprocess` finds around a head."""
    foreground = gray > 255 * FOREGROUND
    axes = []
    for axis in (1, 0):
        where = np.flatnonzero(np.count_nonzero(foreground, axis=axis) > LINE_SHARE * gray.shape[axis])
        first, last = (where[0], where[-1]) if len(where) else (0, gray.shape[1 - axis])
        axes.append(((first + last) / 2, max(1.0, (last - first) / 2)))
    (top, height), (left, width) = axes
    return top, left, height, width


def _lines(gray: np.ndarray, ellipse: tuple[float, float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Chains of short bright runs in successive rows: their signs (N, 13) and middles (N, 2) in pixels."""
    nothing = np.zeros((0, 13)), np.zeros((0, 2), int)
    padded = np.pad(gray, ((0, 0), (WIDEST, WIDEST)), constant_values=255)  # the slice's own border is no edge
    stride, flat = padded.shape[1], padded.ravel()
    ends = np.flatnonzero(np.diff(flat >= BRIGHT)) + 1
    start, stop = ends[1:-1:2], ends[2::2]  # the padding that it begins and ends with is bright, too
    short = stop - start <= WIDEST
    start, stop = start[short], stop[short]
    left, right = flat[start - 2].astype(int), flat[stop + 1].astype(int)
    sharp = np.maximum(left, right) <= BRIGHT - DROP
    start, stop, left, right = start[sharp], stop[sharp], left[sharp], right[sharp]
    if len(start) < FEWEST_ROWS:
        return nothing
    # each run's successor: one that overlaps it in the next row, or else in the one after
    row, places = start // stride, np.arange(len(start))
    following = np.full(len(start), -1)
    for rows in (1, 2):
        below = start + rows * stride
        first = np.minimum(np.searchsorted(stop, below), len(start) - 1)
        overlaps = (stop[first] >= below) & (start[first] <= stop + rows * stride) & (row[first] == row + rows)
        overlaps &= following < 0
        following[overlaps] = first[overlaps]
    root = places.copy()
    linked = np.flatnonzero(following >= 0)[::-1]
    root[following[linked]] = linked
    while (root[root] != root).any():
        root = root[root]
    order = np.lexsort((row, root))
    order = order[np.bincount(root, minlength=len(root))[root[order]] >= FEWEST_ROWS]
    if not len(order):
        return nothing
    start, stop, left, right, row = (of_run[order] for of_run in (start, stop, left, right, row))
    begins = np.flatnonzero(np.diff(root[order], prepend=-1))
    lengths = np.diff(begins, append=len(order))
    inside = np.ones(len(order), bool)
    inside[begins] = False  # where differences to the run before mean something
    bend = inside.copy()
    bend[np.minimum(begins + 1, len(order) - 1)] = False

    columns = np.arange(WIDEST + 4) - 2
    window = flat[np.minimum(start[:, None] + columns, flat.size - 1)].astype(np.float64)
    peak = np.where(columns < (stop - start)[:, None], window, 0)[:, 2:].max(1)
    ground = (left + right) / 2
    above = np.where(columns < (stop - start)[:, None] + 2, window - ground[:, None], 0)
    total = np.maximum(above.sum(1), 1)
    width = total / (peak - ground)
    center = start % stride - WIDEST + (above * columns).sum(1) / total
    edge = (flat[start].astype(int) - flat[start - 1]) / (peak - left)
    edge = (edge + (flat[stop - 1].astype(int) - flat[stop]) / (peak - right)) / 2
    change = np.abs(np.diff(width, prepend=0)) * inside
    turn = np.abs(np.diff(center, n=2, prepend=(0, 0))) * bend
    contrast = peak - np.maximum(left, right)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, begins) / lengths

    def spread(values: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(mean(values**2) - mean(values) ** 2, 0))

    def log(values: np.ndarray, floor: float = 0.05) -> np.ndarray:
        return np.log(np.maximum(values, 0) + floor)

    signs = np.stack(
        (
            *(np.log(lengths), mean(contrast) / 100, np.minimum.reduceat(contrast, begins) / 100, mean(peak) / 100),
            *(log(spread(peak) / 10), log(mean(width), 0.3), log(spread(width) / mean(width)), log(mean(change))),
            *(log(mean(turn)), np.clip(mean(edge), 0, 2), log(spread(edge)), log(spread(ground) / 50)),
            log(mean(np.abs(left - right)) / 50),
        ),
        axis=1,
    )
    away = (row - ellipse[0]) ** 2 / ellipse[2] ** 2 + (center - ellipse[1]) ** 2 / ellipse[3] ** 2
    on_head = mean(away) < ON_HEAD
    half = begins + lengths // 2
    middles = np.stack((row[half], np.round(center[half])), axis=1).astype(int)
    return signs[on_head], middles[on_head]
