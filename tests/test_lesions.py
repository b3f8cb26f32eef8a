"""Lesions moved between heads keep their labels honest, and heads without a brain teach nothing of a tumor."""

import pytest
import torch

from model import CLASSES, NO_TUMOR
from training.augmentation import lesions
from training.augmentation.lesions import Share, blank_some, insides, move_lesions
from training.data.frames import Frames

SIZE = 104
GLIOMA, MENINGIOMA, PITUITARY = (CLASSES.index(name) for name in ("glioma", "meningioma", "pituitary"))
LESION = (28, 44, 40, 60)  # left, top, right, bottom in pixels, left of the midline
WITHIN = (..., slice(44, 60), slice(28, 40))
BOX = torch.tensor(LESION) / SIZE
NOWHERE = torch.full((4,), torch.nan)


def head(lesion: bool, lopsided: bool = False) -> torch.Tensor:
    """A round head with mirror-symmetric texture, or with none of that symmetry; perhaps with a bright lesion."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    across = x - (SIZE - 1) / 2
    pixels = 90 + (1.5 * across if lopsided else 40 * torch.sin(across.abs() / 7) * torch.cos(y / 9))
    pixels[(x - 51.5) ** 2 + (y - 51.5) ** 2 > 42**2] = 0
    if lesion:
        pixels[WITHIN] = 250
    return pixels.to(torch.uint8)


def heads(images, boxes, labels) -> Frames:
    return Frames(torch.stack(images), torch.stack(boxes), torch.tensor(labels))


def move(images, boxes, labels, neighbors: Frames | None = None, **share) -> Frames:
    """Only what is asked for happens; without `neighbors` nobody has one."""
    torch.manual_seed(0)
    given = heads(images, boxes, labels)
    nobody = given._replace(labels=torch.full_like(given.labels, -1))
    nothing = dict.fromkeys(Share._fields, 0.0)
    return move_lesions(given, neighbors or nobody, Share(**nothing | share))


def move_in_mixed(label: int, **share) -> Frames:
    """Six heads with a tumor, then six without."""
    given = [head(True)] * 6 + [head(False)] * 6
    return move(given, [BOX] * 6 + [NOWHERE] * 6, [label] * 6 + [NO_TUMOR] * 6, **share)


def test_an_inpainted_head_is_tumor_free_and_looks_like_the_other_hemisphere():
    frames, boxes, labels = move([head(True)] * 2, [BOX] * 2, [MENINGIOMA] * 2, inpainted=1.0)
    assert (labels == NO_TUMOR).all()
    assert (boxes[:, :2] < BOX[:2]).all() and (boxes[:, 2:] > BOX[2:]).all()  # the patch, its feathered rim included
    assert (frames[0][WITHIN].float() - head(False)[WITHIN].float()).abs().mean() < 5


@pytest.mark.parametrize(
    "why, box",
    [
        ("lopsided", BOX),
        ("no box", NOWHERE),
        ("midline", torch.tensor([0.42, 0.4, 0.58, 0.6])),
        ("too large", torch.tensor([0.02, 0.2, 0.4, 0.8])),
        ("neighbor's lesion is there", BOX),
    ],
)
def test_a_tumor_that_cannot_be_covered_stays_what_it_is(why, box):
    given = head(True, lopsided=why.startswith(("lopsided", "neighbor")))
    neighbor = heads([given], [BOX], [GLIOMA]) if why.startswith("neighbor") else None
    frames, _, labels = move([given], [box], [MENINGIOMA], neighbor, inpainted=1.0)
    assert labels.item() == MENINGIOMA and torch.equal(frames[0], given)


def test_a_transplanted_tumor_brings_its_label_and_box_but_pituitary_tumors_stay_at_the_sella():
    frames, boxes, labels = move_in_mixed(GLIOMA, transplanted=1.0)
    got = labels[6:] == GLIOMA
    assert got.any() and (labels[:6] == GLIOMA).all()
    assert (frames[6:][got][WITHIN].float() - head(False)[WITHIN]).mean() > 40
    assert torch.equal(boxes[6:][got], BOX.expand(int(got.sum()), 4))
    assert all(torch.equal(frame, head(False)) for frame in frames[6:][~got])
    assert (move_in_mixed(PITUITARY, transplanted=1.0).labels[6:] == NO_TUMOR).all()


def test_a_patched_head_stays_tumor_free_so_that_a_seam_says_nothing():
    _, boxes, labels = move_in_mixed(GLIOMA, patched=1.0)
    assert labels.tolist() == [GLIOMA] * 6 + [NO_TUMOR] * 6 and boxes[6:].isnan().all()


def test_a_tumor_that_the_other_half_cannot_cover_is_covered_with_a_neighbors_tissue():
    given, neighbor = head(True, lopsided=True), head(False, lopsided=True) // 2  # a dimmer scan of a like head
    frames, _, labels = move([given], [BOX], [MENINGIOMA], heads([neighbor], [NOWHERE], [NO_TUMOR]), inpainted=1.0)
    assert labels.item() == NO_TUMOR
    healthy = head(False, lopsided=True)[WITHIN].float()
    assert (frames[0][WITHIN].float() - healthy).abs().mean() < 20  # as bright as its surroundings


def test_a_distractor_leaves_tumor_box_and_label_alone():
    low = torch.tensor([0.6, 0.65, 0.7, 0.75])  # where other heads have their tumor
    images, boxes = [head(True, lopsided=True)] * 8, [BOX, low] * 4
    plain = heads([head(False, lopsided=True)] * 8, [NOWHERE] * 8, [NO_TUMOR] * 8)
    frames, new_boxes, labels = move(images, boxes, [GLIOMA] * 8, plain, distractors=1.0)
    assert (labels == GLIOMA).all() and torch.equal(new_boxes, torch.stack(boxes))
    assert (frames[::2][WITHIN] == 250).all()


def test_diffuse_tumors_have_a_share_of_their_own():
    for label, share, other in [
        (GLIOMA, "inpainted_diffuse", "inpainted"),
        (MENINGIOMA, "inpainted", "inpainted_diffuse"),
    ]:
        assert move([head(True)], [BOX], [label], **{share: 1.0}).labels.item() == NO_TUMOR
        assert move([head(True)], [BOX], [label], **{other: 1.0}).labels.item() == label


# ---- heads whose inside is painted over


FAR = torch.hypot(*torch.meshgrid(torch.arange(208.0) - 104, torch.arange(208.0) - 104, indexing="ij"))


def round_heads(count: int) -> torch.Tensor:
    """A scalp, dark bone, a brain."""
    brain = 120 + 60 * torch.sin(torch.arange(208) / 5)
    pixels = torch.where(FAR > 60, 230.0, torch.where(FAR > 54, 0.0, brain)) * (FAR < 68)
    return pixels.to(torch.uint8).expand(count, 208, 208).clone()


def test_the_inside_is_even_the_outside_as_it_was_and_rims_differ():
    torch.manual_seed(0)
    images = round_heads(16)
    painted = blank_some(Frames(images, torch.tensor([[0.4, 0.4, 0.5, 0.5]] * 16), torch.arange(16) % 3), 1.0)
    assert (painted.labels == NO_TUMOR).all() and painted.boxes.isnan().all()
    middle = (..., slice(90, 118), slice(90, 118))
    assert images[middle].float().std() > 30
    assert (painted.images[middle].float().flatten(1).std(dim=1) < 12).all()
    scalp = (FAR - 65).abs() < 2
    assert (painted.images[:, scalp].int() - images[:, scalp].int()).abs().max() < 20
    sizes = insides(images.float() / 255).sum((1, 2))
    assert sizes.max() > 1.2 * sizes.min() > 0


def test_as_on_a_gpu_where_no_rows_are_counted_the_same_ones_change(monkeypatch):
    shares = {"inpainted": 0.5, "patched": 0.5, "transplanted": 0.5}
    expected = move_in_mixed(MENINGIOMA, **shares)
    changed = (expected.images != torch.stack([head(True)] * 6 + [head(False)] * 6)).flatten(1).any(1)
    assert 0 < changed.sum() < 12
    assert blank_some(expected, 0.0).images.equal(expected.images)
    monkeypatch.setattr(lesions, "rows_of_interest", lambda mask: torch.arange(len(mask)))
    for one, other in zip(move_in_mixed(MENINGIOMA, **shares), expected, strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0, equal_nan=True)
    given = Frames(round_heads(16), torch.full((16, 4), 0.5), torch.zeros(16, dtype=torch.int64))
    some = blank_some(given, 0.5)
    painted = (some.images != given.images).flatten(1).any(1)
    assert 0 < painted.sum() < 16
    assert torch.equal(painted, some.labels == NO_TUMOR) and torch.equal(painted, some.boxes.isnan().all(1))
