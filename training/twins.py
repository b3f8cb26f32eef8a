"""Twins: for each head the heads of other patients that look most like it, so that healthy tissue can be borrowed.

A twin shows the same plane and level in a similar contrast, and its own lesion, if it has one, lies elsewhere.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model import NO_TUMOR

COUNT = 8  # twins of each head: a covered lesion need not look the same in every epoch
COARSE = 8  # pixels of a frame that are compared as one: twins agree in the shape of the head, not in their sulci
LEAST_ALIKE = 0.90  # correlation; below it other planes and levels come in
REACH = 1.6  # half axes of a box that a patch may touch, and that the twin's lesion must leave free
BLOCK = 512  # heads compared at once


class Heads(NamedTuple):
    """A batch of frames with what is known of them."""

    images: Tensor  # uint8 (N, S, S)
    boxes: Tensor  # float32 (N, 4), fractions of the frame: left, top, right, bottom of the tumor; NaN where unknown
    labels: Tensor  # int64 (N,); -1 where there is no head


def find_twins(everyone: Heads, groups: Tensor) -> Tensor:
    """Twins of each head, the likest first: int64 (N, COUNT).

    A number below N is a head as it is, one from N on is head number - N mirrored, -1 says that there are no more.

    `groups`: int64 (N,), the patients. Heads with a tumor whose place is unknown are nobody's twin.
    """
    images, boxes, labels = everyone
    n = len(images)
    coarse = F.avg_pool2d(images[:, None].float(), COARSE)
    heads, mirrored = (standardized(part) for part in (coarse, coarse.flip(3)))
    donors = torch.cat((heads, mirrored))
    places = torch.cat((boxes, mirror_boxes(boxes)))
    free = (labels == NO_TUMOR).repeat(2)
    donor_groups = groups.repeat(2)
    twins = []
    for rows in torch.arange(n, device=images.device).split(BLOCK):
        alike = heads[rows] @ donors.T
        can_give = free | apart(boxes[rows], places)
        alike[~can_give | (groups[rows, None] == donor_groups)] = -1
        best, who = alike.topk(min(COUNT, 2 * n), dim=1)
        twins.append(F.pad(who.masked_fill(best < LEAST_ALIKE, -1), (0, COUNT - best.shape[1]), value=-1))
    return torch.cat(twins)


def standardized(images: Tensor) -> Tensor:
    """(N, 1, h, w) -> (N, h * w) of mean 0 and norm 1, so that products are correlations."""
    flat = images.flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-6)


def mirror_boxes(boxes: Tensor) -> Tensor:
    """Left, top, right, bottom as fractions, after left and right have changed places."""
    return torch.stack((1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]), dim=1)


def apart(boxes: Tensor, others: Tensor) -> Tensor:
    """Whether a patch on each of `boxes` (N, 4) leaves each of `others` (M, 4) free: bool (N, M), False where unknown.

    A head without a box (NaN) asks for nothing yet: True wherever the other one's place is known.
    """
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * REACH
    low, high = (middle - half)[:, None], (middle + half)[:, None]
    beside = (high <= others[None, :, :2]) | (low >= others[None, :, 2:])
    known = ~others.isnan().any(1)[None]
    return (beside.any(2) | boxes.isnan().any(1)[:, None]) & known


def pick_twins(everyone: Heads, twins: Tensor) -> Heads:
    """One of each head's twins at random: `twins` int64 (N, COUNT), rows of what `find_twins` returned.

    A head without twins gets some other head, labeled -1. Draws from torch's global generator of the device.
    """
    count = (twins >= 0).sum(dim=1)
    drawn = (torch.rand(len(twins), device=twins.device) * count).long()
    number = twins.gather(1, drawn[:, None]).squeeze(1)
    index, mirrored = number.clamp_min(0) % len(everyone.images), number >= len(everyone.images)
    images, boxes = everyone.images[index], everyone.boxes[index]
    images = torch.where(mirrored[:, None, None], images.flip(2), images)
    boxes = torch.where(mirrored[:, None], mirror_boxes(boxes), boxes)
    return Heads(images, boxes, everyone.labels[index].masked_fill(count == 0, -1))
