"""Augmentation keeps what matters and changes what does not."""

import pytest
import torch
import torch.nn.functional as F

from training.augmentation.augment import CACHE_MARGIN, INSIDE, OUTSIDE, UNKNOWN, Strength, augment, random_curves

STRIDE, SIZE, FRAME = 16, 128, 208
ONLY_MOVES = Strength(curve=0, gamma=0, bias=0, sharpness=(0, 0), noise=0, haze=0)


@pytest.fixture(scope="module")
def squares():
    """Frames with one bright square each, and its box; drawn where no window cuts it off."""
    rng = torch.Generator().manual_seed(0)
    frames, boxes = torch.zeros(32, FRAME, FRAME, dtype=torch.uint8), torch.zeros(32, 4)
    for k in range(32):
        x, y = torch.randint(70, 100, (2,), generator=rng).tolist()
        side = int(torch.randint(20, 40, (1,), generator=rng))
        frames[k, y : y + side, x : x + side] = 200
        boxes[k] = torch.tensor([x, y, x + side, y + side]) / FRAME
    return frames, boxes


def test_the_box_follows_the_tumor_through_every_move_and_windows_span_the_one_in_serving(squares):
    torch.manual_seed(1)
    images, said = augment(*squares, SIZE, STRIDE, ONLY_MOVES)
    bright = F.avg_pool2d(images, STRIDE)[:, 0]
    assert (said == INSIDE).flatten(1).any(1).all(), "even the smallest tumor holds a position"
    assert bright[said == INSIDE].mean() > 4 * bright[said == UNKNOWN].mean()
    assert bright[said == OUTSIDE].max() < 60
    shown, cached = ((pixels > 100).float().mean((1, 2)) for pixels in (images[:, 0], squares[0]))
    as_served = ((1 + 2 * CACHE_MARGIN) / (1 + 2 * 0.06)) ** 2
    assert (shown / cached).min() < as_served < (shown / cached).max()


def test_same_seed_same_images_in_range_and_without_a_box_nothing_is_said(squares):
    frames, boxes = squares
    outcomes = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        outcomes.append(augment(frames, torch.full_like(boxes, torch.nan), SIZE, STRIDE, Strength(haze=0)))
    (images, said), (again, _), (other, _) = outcomes
    assert torch.equal(images, again) and not torch.equal(images, other)
    assert images.shape == (32, 1, SIZE, SIZE) and images.min() >= 0 and images.max() <= 255
    assert images[..., :8, :8].median() < 20, "the background stays black, mostly"
    assert (said == UNKNOWN).all()


def test_intensity_curves_keep_black_black_and_change_the_order_of_tissues_sometimes():
    torch.manual_seed(6)
    ramp = torch.linspace(0, 1, 64).expand(200, 1, 1, 64)
    curves = random_curves(ramp, Strength(curve=1.0, non_monotone=0.5)).squeeze()
    assert curves[:, 0].abs().max() == 0 and curves.min() >= 0 and curves.max() <= 1 + 1e-6
    falls = (curves.diff(dim=1) < -1e-3).any(1).float().mean()
    assert 0.3 < falls < 0.7
