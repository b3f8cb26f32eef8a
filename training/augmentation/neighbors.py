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
REACH = 1.55  # half axes of a box that a patch on it touches
BLOCK = 512  # heads compared at once


class Heads(NamedTuple):
    """A batch of frames with what is known of them."""

    images: Tensor  # uint8 (N, S, S)
    boxes: Tensor  # float32 (N, 4), fractions of the frame: left, top, right, bottom of the tumor; NaN where unknown
    labels: Tensor  # int64 (N,); -1 where there is no head


def find_twins(everyone: Heads, groups: Tensor) -> Tensor:
    """Twins of each head, the likest first: int64 (N, COUNT).

    A number below N is a head as it is, one from N on is head number - N mirrored, -1 says that there are no more.
    Heads with a tumor whose place is unknown are nobody's twin.

    `groups`: int64 (N,), the patients.
    """
    images, boxes, labels = everyone
    n = len(images)
    coarse = torch.cat([F.avg_pool2d(part[:, None].float(), COARSE) for part in images.split(BLOCK)])
    heads, mirrored = (standardized(part) for part in (coarse, coarse.flip(3)))
    donors = torch.cat((heads, mirrored))
    places = torch.cat((boxes, mirror_boxes(boxes)))
    free = (labels == NO_TUMOR).repeat(2)
    known = ~places.isnan().any(1)
    donor_groups = groups.repeat(2)
    twins = []
    for rows in torch.arange(n, device=images.device).split(BLOCK):
        alike = heads[rows] @ donors.T
        anywhere = boxes[rows].isnan().any(1)[:, None]  # where a head without a lesion is patched is not known yet
        can_give = free | leaves_free(boxes[rows, None], places) | (anywhere & known)
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


def leaves_free(places: Tensor, boxes: Tensor) -> Tensor:
    """Whether a patch on `places` touches nothing of `boxes`; False where one of them is unknown.

    Both (..., 4), left, top, right, bottom as fractions; returns bool (...) of what they broadcast to.
    """
    middle, reach = (places[..., :2] + places[..., 2:]) / 2, (places[..., 2:] - places[..., :2]) / 2 * REACH
    return ((middle + reach <= boxes[..., :2]) | (middle - reach >= boxes[..., 2:])).any(-1)


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


def rows_of_interest(mask: Tensor) -> Tensor:
    """Numbers of the rows where `mask` (N,) holds, and on an accelerator of all: the host would have to wait for it to
    count them, which takes longer than to work on the others in vain.
    """
    if mask.device.type == "cpu":
        return torch.nonzero(mask)[:, 0]
    return torch.arange(len(mask), device=mask.device)
