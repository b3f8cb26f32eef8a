"""Heads without a brain teach nothing of a tumor."""

import torch

from model import NO_TUMOR
from training.augmentation import lesions
from training.augmentation.lesions import blank_some, insides
from training.augmentation.neighbors import Heads

SIZE = 208


def round_heads(count: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    distance = ((x - 104) ** 2 + (y - 104) ** 2).sqrt()
    brain = 120 + 60 * torch.sin(x / 5)
    pixels = torch.where(distance > 60, 230.0, torch.where(distance > 54, 0.0, brain)) * (distance < 68)
    return pixels.to(torch.uint8).expand(count, SIZE, SIZE).clone()  # a scalp, dark bone, a brain


def test_the_inside_is_even_and_the_outside_as_it_was():
    torch.manual_seed(0)
    heads = round_heads(16)
    given = Heads(heads, torch.tensor([[0.4, 0.4, 0.5, 0.5]] * 16), torch.arange(16) % 3)
    painted = blank_some(given, 1.0)
    assert (painted.labels == NO_TUMOR).all() and painted.boxes.isnan().all()
    middle = slice(90, 118)
    assert heads[:, middle, middle].float().std() > 30
    assert (painted.images[:, middle, middle].float().flatten(1).std(dim=1) < 12).all()
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    scalp = (((x - 104) ** 2 + (y - 104) ** 2).sqrt() - 65).abs() < 2
    assert (painted.images[:, scalp].int() - heads[:, scalp].int()).abs().max() < 20


def test_the_rims_that_stay_differ():
    torch.manual_seed(0)
    sizes = insides(round_heads(16).float() / 255).sum((1, 2))
    assert sizes.max() > 1.2 * sizes.min() > 0


def test_no_share_changes_nothing():
    given = Heads(round_heads(2), torch.full((2, 4), torch.nan), torch.tensor([0, 3]))
    assert blank_some(given, 0.0) is given


def test_where_no_rows_are_counted_only_the_chosen_ones_change(monkeypatch):
    monkeypatch.setattr(lesions, "rows_of_interest", lambda mask: torch.arange(len(mask)))  # as on a GPU
    torch.manual_seed(0)
    given = Heads(round_heads(16), torch.full((16, 4), 0.5), torch.zeros(16, dtype=torch.int64))
    some = blank_some(given, 0.5)
    painted = (some.images != given.images).flatten(1).any(1)
    assert 0 < painted.sum() < 16
    assert torch.equal(painted, some.labels == NO_TUMOR) and torch.equal(painted, some.boxes.isnan().all(1))
