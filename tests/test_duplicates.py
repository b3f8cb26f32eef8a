"""Near-duplicates: what is found, and what stays apart."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from training.data.duplicates import SAME, clusters, near_pairs, thumbnails


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((width, height)))


COPIES = {
    "mirrored": lambda pixels: pixels[:, ::-1],
    "upside down": lambda pixels: pixels[::-1],
    "turned by 180 degrees": lambda pixels: pixels[::-1, ::-1],
    "stretched": lambda pixels: resized(pixels, 180, 150),
    "padded": lambda pixels: np.pad(pixels, 25),
    "brighter": lambda pixels: np.where(pixels > 0, pixels * 0.7 + 60, 0).astype(np.uint8),
    "gamma": lambda pixels: (255 * (pixels / 255) ** 0.6).astype(np.uint8),
    "16 bit": lambda pixels: pixels.astype(np.uint16) * 200,
    "mirrored, half the size, JPEG": lambda pixels: jpeg(resized(pixels[:, ::-1].copy(), 90, 100), 60),
}


@pytest.fixture(scope="module")
def heads(draw_head):
    return np.stack([thumbnails(draw_head(seed)) for seed in range(30)])


def test_changed_copies_are_found_among_other_images(heads, draw_head):
    for name, change in COPIES.items():
        images = np.stack([*heads[:12], thumbnails(change(draw_head(5)))])
        assert [(i, j) for i, j, _ in near_pairs(images)] == [(5, 12)], name


def test_different_images_and_those_without_contrast_stay_apart(heads):
    blank = thumbnails(np.full((100, 100), 7, dtype=np.uint8))
    assert near_pairs(np.stack([*heads, blank, blank])) == []


def test_clusters_are_joined_over_several_steps():
    assert clusters(7, [(5, 3), (3, 1), (2, 6)]) == [0, 1, 2, 1, 4, 1, 2]
    assert clusters(3, []) == [0, 1, 2]


def test_blocks_give_the_pairs_of_a_direct_comparison(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (60, 2, 32, 32), dtype=np.uint8)
    images[47], images[33] = images[2, :, :, ::-1], images[31]
    monkeypatch.setattr("training.data.duplicates.BLOCK", 16)
    assert [(i, j) for i, j, _ in near_pairs(images)] == [(2, 47), (31, 33)]


def test_the_mislabeled_files_of_the_kaggle_set_are_found(shared_data):
    """`data/README.md` of the shared folder names them: pituitary files that are meningiomas of figshare."""
    folder = shared_data / "nickparvar"
    mislabeled = (
        "Testing/pituitary/Te-piTr_0002",
        *(f"Training/pituitary/Tr-pi_{n}" for n in ("0043", "0515", "0520")),
    )
    originals = ("Testing/meningioma/Te-me_0156", *(f"Training/meningioma/Tr-me_{n}" for n in ("1311", "0942", "0831")))
    files = [folder / f"{name}.jpg" for name in (*mislabeled, *originals)]
    files += sorted({*folder.glob("T*ing/meningioma/*00.jpg")} - {*files})
    images = np.stack([thumbnails(np.asarray(Image.open(file).convert("L"))) for file in files])
    found = [(i, j) for i, j, correlation in near_pairs(images) if i < 4 and correlation > SAME]
    assert found == [(0, 4), (1, 5), (2, 6), (3, 7)]
