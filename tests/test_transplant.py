"""Lesions moved between heads keep their labels honest."""

import pytest
import torch

from model import CLASSES, NO_TUMOR
from training.transplant import Share, move_lesions

SIZE = 104
GLIOMA, PITUITARY = CLASSES.index("glioma"), CLASSES.index("pituitary")
LESION = (28, 44, 40, 60)  # left, top, right, bottom in pixels, left of the midline
BOX = torch.tensor(LESION) / SIZE
NOWHERE = torch.full((4,), torch.nan)


def head(lesion: bool, lopsided: bool = False) -> torch.Tensor:
    """A round head with mirror-symmetric texture, or with none of that symmetry; perhaps with a bright lesion."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    across = x - (SIZE - 1) / 2
    pixels = 90 + (1.5 * across if lopsided else 40 * torch.sin(across.abs() / 7) * torch.cos(y / 9))
    pixels[(x - 51.5) ** 2 + (y - 51.5) ** 2 > 42**2] = 0
    if lesion:
        left, top, right, bottom = LESION
        pixels[top:bottom, left:right] = 250
    return pixels.to(torch.uint8)


def move(heads, boxes, labels, **share):
    torch.manual_seed(0)
    everything = {"healed": 0.0, "transplanted": 0.0, "patched": 0.0} | share
    return move_lesions(torch.stack(heads), torch.stack(boxes), torch.tensor(labels), Share(**everything))


def test_a_healed_head_is_tumor_free_and_looks_like_the_other_hemisphere():
    frames, boxes, labels = move([head(True)] * 2, [BOX] * 2, [GLIOMA] * 2, healed=1.0)
    assert (labels == NO_TUMOR).all()
    assert (boxes[:, :2] < BOX[:2]).all() and (boxes[:, 2:] > BOX[2:]).all()  # the patch, its feathered rim included
    left, top, right, bottom = LESION
    healthy = head(False)[top:bottom, left:right].float()
    assert (frames[0, top:bottom, left:right].float() - healthy).abs().mean() < 5


@pytest.mark.parametrize("why", ["lopsided", "no box", "midline", "too large"])
def test_a_tumor_that_cannot_be_healed_stays_what_it_is(why):
    box = {
        "no box": NOWHERE,
        "midline": torch.tensor([0.42, 0.4, 0.58, 0.6]),
        "too large": torch.tensor([0.02, 0.2, 0.4, 0.8]),
    }.get(why, BOX)
    given = head(True, lopsided=why == "lopsided")
    frames, _, labels = move([given], [box], [GLIOMA], healed=1.0)
    assert labels.item() == GLIOMA and torch.equal(frames[0], given)


def test_a_transplanted_tumor_brings_its_label_and_box():
    given = [head(True)] * 6 + [head(False)] * 6
    frames, boxes, labels = move(given, [BOX] * 6 + [NOWHERE] * 6, [GLIOMA] * 6 + [NO_TUMOR] * 6, transplanted=1.0)
    got = labels[6:] == GLIOMA
    assert got.any() and (labels[:6] == GLIOMA).all()
    left, top, right, bottom = LESION
    inside, before = frames[6:, top:bottom, left:right].float(), head(False)[top:bottom, left:right].float()
    assert (inside[got] - before).mean() > 40 and torch.equal(boxes[6:][got], BOX.expand(int(got.sum()), 4))
    assert all(torch.equal(frame, given[6]) for frame in frames[6:][~got])


def test_pituitary_tumors_stay_at_the_sella():
    given = [head(True)] * 6 + [head(False)] * 6
    _, _, labels = move(given, [BOX] * 6 + [NOWHERE] * 6, [PITUITARY] * 6 + [NO_TUMOR] * 6, transplanted=1.0)
    assert (labels[6:] == NO_TUMOR).all()


def test_a_patched_head_stays_tumor_free_so_that_a_seam_says_nothing():
    given = [head(True)] * 6 + [head(False, lopsided=False)] * 6
    _, boxes, labels = move(given, [BOX] * 6 + [NOWHERE] * 6, [GLIOMA] * 6 + [NO_TUMOR] * 6, patched=1.0)
    assert labels.tolist() == [GLIOMA] * 6 + [NO_TUMOR] * 6 and boxes[6:].isnan().all()
