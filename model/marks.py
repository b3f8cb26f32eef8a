"""Is something drawn on a slice: an ellipse, arrow, letter or ruler, in pure white or in color?

Marks change the answer. In gray they differ from tissue by what no scanner makes: lines of one width and the highest
brightness, on smooth curves, with the sharpest edges of the slice. training/evaluation/marks.py fits `LINES` to this.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from .preprocess import LINE_SHARE, finite, foreground_counts

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
    return bool((score(signs, **LINES) > 0).any())


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
    signs, middles = _lines(gray)
    if not len(signs):
        return np.zeros((0, 17)), middles
    edges = np.maximum(gray[:, 1:], gray[:, :-1]) - np.minimum(gray[:, 1:], gray[:, :-1])
    counts = np.array(Image.fromarray(edges).histogram())
    counts[: NOISE + 1] = 0
    counts = counts.cumsum()
    steep = np.searchsorted(counts, counts[-1] * np.array((0.9, 0.99)))
    bright = np.count_nonzero(gray >= BRIGHT) / gray.size
    of_slice = (*np.log(steep / 100 + 0.02), np.log(bright + 0.01), np.log(1 + len(signs)))
    return np.concatenate((signs, np.full((len(signs), 4), of_slice)), axis=1), middles


def _as_bytes(pixels: np.ndarray) -> np.ndarray:
    """uint8: from the darkest value, 0 where none is below, to the brightest, or to what is far above all tissue."""
    if pixels.dtype == np.uint8 and pixels.max() >= 250:
        return pixels
    pixels = finite(pixels)
    low, high = min(0, float(pixels.min())), float(pixels.max())
    tissue = float(np.percentile(pixels[::4, ::4], 98)) - low
    if 0 < tissue * FAR < high - low:
        high = low + tissue * FAR
    return (np.minimum((pixels - low) / max(high - low, 1e-9), 1) * 255).astype(np.uint8)


def head_ellipse(gray: np.ndarray) -> tuple[float, float, float, float]:
    """Middle and half axes, along rows and columns, of the ellipse in the box that `preprocess` finds around a head."""
    middles, axes = [], []
    for counts, length in zip(foreground_counts(gray), gray.shape[::-1], strict=True):
        where = np.flatnonzero(counts > LINE_SHARE * length)
        first, last = (where[0], where[-1]) if len(where) else (0, len(counts))
        middles.append((first + last) / 2)
        axes.append(max(1.0, (last - first) / 2))
    return *middles, *axes


def _lines(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chains of short bright runs in successive rows or columns: their signs (N, 13) and middles (N, 2) in pixels."""
    nothing = np.zeros((0, 13)), np.zeros((0, 2), int)
    # the rows and, two below, the columns as rows of one picture, in white: the slice's own border is no edge
    height, across = gray.shape
    stride = max(gray.shape) + 2 * WIDEST + 1 | 1  # odd, for the cache: to turn at a power of two takes twice as long
    both = np.full((height + 2 + across, stride), 255, np.uint8)
    both[:height, WIDEST : WIDEST + across] = gray
    both[height + 2 :, WIDEST : WIDEST + height] = both[:height, WIDEST : WIDEST + across].T
    flat = both.ravel()
    bright = flat >= BRIGHT
    ends = np.flatnonzero(bright[1:] != bright[:-1]) + 1
    start, stop = ends[1:-1:2], ends[2::2]  # the padding that it begins and ends with is bright, too
    short = stop - start <= WIDEST
    start, stop = start[short], stop[short]
    left, right = flat[start - 2].astype(int), flat[stop + 1].astype(int)
    sharp = np.maximum(left, right) <= BRIGHT - DROP
    start, stop, left, right = start[sharp], stop[sharp], left[sharp], right[sharp]
    if len(start) < FEWEST_ROWS:
        return nothing
    # each run's successor: one that overlaps it in the next row, or else in the one after
    row = start // stride
    following = np.full(len(start), -1)
    for rows in (1, 2):
        below = start + rows * stride
        first = np.minimum(np.searchsorted(stop, below), len(start) - 1)
        overlaps = (stop[first] >= below) & (start[first] <= stop + rows * stride) & (row[first] == row + rows)
        overlaps &= following < 0
        following[overlaps] = first[overlaps]
    root = np.arange(len(start))
    linked = np.flatnonzero(following >= 0)[::-1]
    root[following[linked]] = linked
    while ((farther := root[root]) != root).any():
        root = farther
    rows_of_chain = np.bincount(root)[root]
    order = np.flatnonzero(rows_of_chain >= FEWEST_ROWS)
    if not len(order):
        return nothing
    order = order[np.argsort(root[order], kind="stable")]  # chain by chain, each in the order of its rows
    start, stop, left, right, row = (of_run[order] for of_run in (start, stop, left, right, row))
    begins = np.flatnonzero(root[order] == order)
    lengths = rows_of_chain[order[begins]]
    columns = np.arange(WIDEST + 4) - 2
    window = flat[start[:, None] + columns].astype(np.float64)
    peak = np.where(columns < (stop - start)[:, None], window, 0)[:, 2:].max(1)
    ground = (left + right) / 2
    above = np.where(columns < (stop - start)[:, None] + 2, window - ground[:, None], 0)
    total = np.maximum(above.sum(1), 1)
    width = total / (peak - ground)
    center = start % stride - WIDEST + (above * columns).sum(1) / total
    edge = (flat[start].astype(int) - flat[start - 1]) / (peak - left)
    edge = (edge + (flat[stop - 1].astype(int) - flat[stop]) / (peak - right)) / 2
    change, turn = np.zeros((2, len(order)))
    change[1:], turn[2:] = np.abs(np.diff(width)), np.abs(np.diff(center, n=2))
    change[begins] = turn[begins] = turn[begins + 1] = 0  # from one chain to the next they mean nothing
    contrast = peak - np.maximum(left, right)
    is_row = row < height
    y, x = np.where(is_row, row, center), np.where(is_row, center, row - height - 2)
    ellipse = head_ellipse(gray)
    away = (y - ellipse[0]) ** 2 / ellipse[2] ** 2 + (x - ellipse[1]) ** 2 / ellipse[3] ** 2

    varied = np.array((peak, width, edge, ground))
    others = np.array((contrast, change, turn, np.abs(left - right), away))
    means = np.add.reduceat(np.concatenate((varied, varied**2, others)), begins, axis=1) / lengths
    (peaks, widths, edges, _), (contrasts, changes, turns, slants, aways) = means[:4], means[8:]
    of_peak, of_width, of_edge, of_ground = np.sqrt(np.maximum(means[4:8] - means[:4] ** 2, 0))  # standard deviations
    logs = np.array((of_peak / 10, of_width / widths, changes, turns, of_edge, of_ground / 50, slants / 50))
    logs = np.log(logs + 0.05)
    signs = (np.log(lengths), contrasts / 100, np.minimum.reduceat(contrast, begins) / 100, peaks / 100, logs[0])
    signs = np.array((*signs, np.log(widths + 0.3), *logs[1:4], edges.clip(0, 2), *logs[4:])).T
    on_head = aways < ON_HEAD
    half = begins + lengths // 2
    middles = np.array((y[half], x[half])).T.round().astype(int)
    return signs[on_head], middles[on_head]
