"""Near-duplicates: one slice under two names, mirrored, re-encoded, resized, brighter, or a close neighbor of it.

Two thumbnails are made of each slice, one of the framed head (the same however the slice was cropped or padded) and
one of the whole image (the same however it was stretched, and where noise hides the head's edge). Slow changes of
brightness are taken away, and every thumbnail is correlated with every other one and its three mirror images.

Measured against the known groups of the Kaggle set *Brain Tumor MRI Dataset* (7,019 images, 681 groups) and of our pool
of the original sources (5,152 images, 914 groups), by threshold:

    correlation above                                            0.80      0.85      0.90      0.93
    Kaggle: of 788 test tumors whose patient is in Training,
        linked to Training                                        678       620       559       509
    Kaggle: of 405 no-tumor test images, linked to Training       405       405       405       405
    false pairs (two known patients), Kaggle / pool         536 / 223   48 / 22     0 / 0     0 / 0
    largest cluster, Kaggle / pool                          521 / 370   83 / 39   81 / 38   81 / 38
    copies found, 400 each: JPEG quality 60, half size, brightness, gamma 0.6 or 1.6, noise, stretched   all at 0.85
        padded by 20 pixels 96 %, turned by 3 degrees 86 % at 0.85
"""

from collections.abc import Iterable

import numpy as np
from PIL import Image

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
        rows = upright[:, start : start + BLOCK]
        columns = (kind for mirror in details for kind in zip(rows, mirror[:, start:], strict=True))
        first, other = next(columns)
        correlation = first @ other.T
        for first, other in columns:
            np.maximum(correlation, first @ other.T, out=correlation)
        i, j = np.nonzero(np.triu(correlation, k=1) > ALIKE)
        pairs += zip((i + start).tolist(), (j + start).tolist(), correlation[i, j].tolist(), strict=True)
    return pairs


def clusters(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` things, the smallest index that it is linked to over any number of steps (union-find)."""
    parent = list(range(count))

    def smallest(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]  # shortens the way for the next one
            i = parent[i]
        return i

    for i, j in links:
        low, high = sorted((smallest(i), smallest(j)))
        parent[high] = low
    return [smallest(i) for i in range(count)]


def _details(images: np.ndarray) -> np.ndarray:
    """Uint8 (N, 2, SIDE, SIDE) -> float32 (2, N, pixels): what differs from its surroundings, in rows of length 1.

    The product of two rows is the correlation of two thumbnails.
    """
    pixels = images.astype(np.float32)
    details = (pixels - _blurred(_blurred(pixels))).reshape(*images.shape[:2], -1).swapaxes(0, 1)
    details = details - details.mean(axis=2, keepdims=True)
    return details / np.maximum(np.linalg.norm(details, axis=2, keepdims=True), 1e-6)


def _blurred(images: np.ndarray) -> np.ndarray:
    """Mean of 3 x 3 pixels."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9
