"""Neighbors look alike, belong to other patients, and have healthy tissue to give."""

import pytest
import torch

from model import CLASSES, NO_TUMOR
from training.augmentation.neighbors import COUNT, find_neighbors, mirror_boxes, pick_neighbors
from training.data.frames import Frames

SIZE = 104
GLIOMA = CLASSES.index("glioma")
LEFT, RIGHT = torch.tensor([0.25, 0.4, 0.4, 0.55]), torch.tensor([0.6, 0.4, 0.75, 0.55])
NOWHERE = torch.full((4,), torch.nan)


def head(round_: bool, noise: int) -> torch.Tensor:
    """A head from the side or from above, never twice the same."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    inside = (x - 52) ** 2 + (y - 52) ** 2 < 40**2 if round_ else ((x - 30) / 28) ** 2 + ((y - 52) / 45) ** 2 < 1
    grain = torch.randint(0, 20, (SIZE, SIZE), generator=torch.Generator().manual_seed(noise))
    return (inside * (120 + 40 * torch.sin(x / 9) + grain)).to(torch.uint8)


def found(images, boxes, labels, groups) -> list[list[int]]:
    """The neighbors of each head, without the empty places."""
    neighbors = find_neighbors(
        Frames(torch.stack(images), torch.stack(boxes), torch.tensor(labels)), torch.tensor(groups)
    )
    assert neighbors.shape == (len(images), COUNT)
    return [[number for number in row if number >= 0] for row in neighbors.tolist()]


def test_a_neighbor_looks_alike_in_the_mirror_or_not_and_is_another_patient():
    images = [head(True, 0), head(True, 1), head(True, 2), head(False, 3)]
    (first, *_, last) = found(images, [NOWHERE] * 4, [NO_TUMOR] * 4, [0, 0, 1, 2])
    assert 2 in first and not {0, 1, 3, 7} & set(first)  # 1 is the same patient, 3 and 7 the view from the side
    assert last == []
    images = [head(False, 0), head(False, 1).flip(1)]
    assert found(images, [NOWHERE] * 2, [NO_TUMOR] * 2, [0, 1]) == [[3], [2]]


@pytest.mark.parametrize("box, is_neighbor", [(RIGHT, True), (LEFT, False), (NOWHERE, False)])
def test_a_neighbor_has_no_lesion_where_one_is_covered(box, is_neighbor):
    first, _ = found([head(True, 0), head(True, 1)], [LEFT, box], [GLIOMA, GLIOMA], [0, 1])
    assert (1 in first) == is_neighbor


def test_picking_mirrors_head_and_box_and_says_where_there_is_none():
    everyone = Frames(torch.stack([head(False, 0), head(False, 1)]), torch.stack([LEFT, RIGHT]), torch.tensor([0, 1]))
    neighbors = torch.full((2, COUNT), -1)
    neighbors[0, 0] = 3  # head 1, mirrored
    picked = pick_neighbors(everyone, neighbors)
    assert torch.equal(picked.images[0], everyone.images[1].flip(1)) and picked.labels.tolist() == [1, -1]
    assert torch.allclose(picked.boxes[0], LEFT) and torch.allclose(mirror_boxes(picked.boxes)[0], RIGHT)
