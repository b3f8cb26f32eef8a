"""Near-duplicates: one slice under two names, mirrored, re-encoded, resized, brighter, or a close neighbor of it.

Two thumbnails are made of each slice, one of the framed head (the same however the slice was cropped or padded) and
one of the whole image (the same however it was stretched, and where noise hides the head's edge). Slow changes of
brightness are taken away, and every thumbnail is correlated with every other one and its three mirror images.

What the two thresholds find and miss on known groups stands in training/EXPERIMENTS.md.
"""

from collections.abc import Iterable

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from model.preprocess import frame, stretch_contrast

SIDE = 32  # pixels of a thumbnail: sulci are gone, ventricles and lesions are left
ALIKE = 0.85  # groups form above it: a false link only makes a group coarser, but at 0.80 clusters run together
SAME = 0.90  # one slice for certain: no two known patients correlate more
BLOCK = 1024  # thumbnails compared at once: 28 MB of correlations for 7,000 images


def thumbnails(pixels: np.ndarray) -> np.ndarray:
    """A slice, (height, width) of any real dtype -> uint8 (2, SIDE, SIDE): the framed head, and the whole image."""
    head, _ = frame(pixels, SIDE, margin=0.0)
    whole = Image.fromarray(stretch_contrast(pixels)).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.stack([head, np.asarray(whole)])


def near_pairs(images: np.ndarray) -> list[tuple[int, int, float]]:
    """Pairs i < j of images that are alike, mirrored or not, with their correlation (above ALIKE, up to 1).

    `images`: uint8 (N, 2, SIDE, SIDE), the thumbnails of each. An image without contrast is like no other.
    """
    mirrors = (images, images[..., ::-1], images[..., ::-1, :], images[..., ::-1, ::-1])
    upright, *_ = details = [_details(mirror) for mirror in mirrors]
    pairs = []
    for start in range(0, len(images), BLOCK):
        correlation = None
        for rows, columns in ((upright[kind], mirror[kind]) for mirror in details for kind in range(2)):
            product = rows[start : start + BLOCK] @ columns[start:].T
            correlation = product if correlation is None else np.maximum(correlation, product, out=correlation)
        i, j = np.nonzero(np.triu(correlation, k=1) > ALIKE)
        pairs += zip((i + start).tolist(), (j + start).tolist(), correlation[i, j].tolist(), strict=True)
    return pairs


def clusters(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` things, the smallest index that it is linked to over any number of steps."""
    i, j = np.array([*links], dtype=int).reshape(-1, 2).T
    _, cluster = connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(count, count)), directed=False)
    _, first = np.unique(cluster, return_index=True)
    return first[cluster].tolist()


def _details(images: np.ndarray) -> np.ndarray:
    """Uint8 (N, 2, SIDE, SIDE) -> float32 (2, N, pixels): what differs from its surroundings, in rows of length 1.

    The product of two rows is the correlation of two thumbnails.
    """
    pixels = images.astype(np.float32)
    around = uniform_filter(uniform_filter(pixels, (1, 1, 3, 3), mode="nearest"), (1, 1, 3, 3), mode="nearest")
    details = (pixels - around).reshape(*images.shape[:2], -1).swapaxes(0, 1)
    details = details - details.mean(axis=2, keepdims=True)
    return details / np.maximum(np.linalg.norm(details, axis=2, keepdims=True), 1e-6)
