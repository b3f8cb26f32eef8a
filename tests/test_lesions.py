"""Lesions moved between heads keep their labels honest."""

import pytest
import torch

from model import CLASSES, NO_TUMOR
from training.augmentation import lesions
from training.augmentation.lesions import Share, move_lesions
from training.augmentation.neighbors import Heads

SIZE = 104
GLIOMA, MENINGIOMA, PITUITARY = (CLASSES.index(name) for name in ("glioma", "meningioma", "pituitary"))
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


def heads(images, boxes, labels) -> Heads:
    return Heads(torch.stack(images), torch.stack(boxes), torch.tensor(labels))


def move(images, boxes, labels, neighbors: Heads | None = None, **share) -> Heads:
    """Only what is asked for happens; without `neighbors` nobody has one."""
    torch.manual_seed(0)
    given = heads(images, boxes, labels)
    nobody = given._replace(labels=torch.full_like(given.labels, -1))
    nothing = dict.fromkeys(Share._fields, 0.0)
    return move_lesions(given, neighbors or nobody, Share(**nothing | share))


def test_a_inpainted_head_is_tumor_free_and_looks_like_the_other_hemisphere():
    frames, boxes, labels = move([head(True)] * 2, [BOX] * 2, [MENINGIOMA] * 2, inpainted=1.0)
    assert (labels == NO_TUMOR).all()
    assert (boxes[:, :2] < BOX[:2]).all() and (boxes[:, 2:] > BOX[2:]).all()  # the patch, its feathered rim included
    left, top, right, bottom = LESION
    healthy = head(False)[top:bottom, left:right].float()
    assert (frames[0, top:bottom, left:right].float() - healthy).abs().mean() < 5


@pytest.mark.parametrize("why", ["lopsided", "no box", "midline", "too large"])
def test_a_tumor_that_cannot_be_inpainted_stays_what_it_is(why):
    box = {
        "no box": NOWHERE,
        "midline": torch.tensor([0.42, 0.4, 0.58, 0.6]),
        "too large": torch.tensor([0.02, 0.2, 0.4, 0.8]),
    }.get(why, BOX)
    given = head(True, lopsided=why == "lopsided")
    frames, _, labels = move([given], [box], [MENINGIOMA], inpainted=1.0)
    assert labels.item() == MENINGIOMA and torch.equal(frames[0], given)


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


def test_a_tumor_that_the_other_half_cannot_inpaint_is_covered_with_a_neighbors_tissue():
    given, neighbor = head(True, lopsided=True), head(False, lopsided=True) // 2  # a dimmer scan of a like head
    frames, _, labels = move([given], [BOX], [MENINGIOMA], heads([neighbor], [NOWHERE], [NO_TUMOR]), inpainted=1.0)
    assert labels.item() == NO_TUMOR
    left, top, right, bottom = LESION
    healthy = head(False, lopsided=True)[top:bottom, left:right].float()
    assert (frames[0, top:bottom, left:right].float() - healthy).abs().mean() < 20  # as bright as its surroundings


def test_a_twin_with_a_lesion_in_the_same_place_has_nothing_to_give():
    given = head(True, lopsided=True)
    frames, _, labels = move([given], [BOX], [MENINGIOMA], heads([given], [BOX], [GLIOMA]), inpainted=1.0)
    assert labels.item() == MENINGIOMA and torch.equal(frames[0], given)


def test_a_distractor_leaves_tumor_box_and_label_alone():
    low = torch.tensor([0.6, 0.65, 0.7, 0.75])  # where other heads have their tumor
    images, boxes = [head(True, lopsided=True)] * 8, [BOX, low] * 4
    plain = heads([head(False, lopsided=True)] * 8, [NOWHERE] * 8, [NO_TUMOR] * 8)
    frames, new_boxes, labels = move(images, boxes, [GLIOMA] * 8, plain, distractors=1.0)
    assert (labels == GLIOMA).all() and torch.equal(new_boxes, torch.stack(boxes))
    left, top, right, bottom = LESION
    for frame, box in zip(frames, boxes, strict=True):
        if torch.equal(box, BOX):
            assert (frame[top:bottom, left:right] == 250).all()


@pytest.mark.parametrize("label, share", [(GLIOMA, "inpainted_diffuse"), (MENINGIOMA, "inpainted")])
def test_diffuse_tumors_have_a_share_of_their_own(label, share):
    assert move([head(True)] * 2, [BOX] * 2, [label] * 2, **{share: 1.0}).labels.tolist() == [NO_TUMOR] * 2
    other = {"inpainted": "inpainted_diffuse", "inpainted_diffuse": "inpainted"}[share]
    assert move([head(True)] * 2, [BOX] * 2, [label] * 2, **{other: 1.0}).labels.tolist() == [label] * 2


def test_where_no_rows_are_counted_the_same_ones_change(monkeypatch):
    given = [head(True)] * 6 + [head(False, lopsided=False)] * 6
    arguments = given, [BOX] * 6 + [NOWHERE] * 6, [MENINGIOMA] * 6 + [NO_TUMOR] * 6
    expected = move(*arguments, inpainted=0.5, patched=0.5, transplanted=0.5)
    monkeypatch.setattr(lesions, "rows_of_interest", lambda mask: torch.arange(len(mask)))  # as on a GPU
    every_row = move(*arguments, inpainted=0.5, patched=0.5, transplanted=0.5)
    for one, other in zip(every_row, expected, strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0, equal_nan=True)
    assert 0 < (expected.images != torch.stack(given)).flatten(1).any(1).sum() < 12
