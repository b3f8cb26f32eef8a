"""Neighbors: the heads of other patients that look most like a head, so that healthy tissue can be borrowed.

A neighbor shows the same plane and level in a similar contrast, and its own lesion, if it has one, lies elsewhere.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from model import NO_TUMOR

from ..data.frames import Frames

COUNT = 8  # neighbors of each head: a covered lesion need not look the same in every epoch
COARSE = 8  # pixels of a frame that are compared as one: neighbors agree in the shape of the head, not in their sulci
LEAST_ALIKE = 0.90  # correlation; below it other planes and levels come in
REACH = 1.55  # half axes of a box that a patch on it touches
BLOCK = 512  # heads compared at once


def find_neighbors(everyone: Frames, groups: Tensor) -> Tensor:
    """Neighbors of each head, the likest first: int64 (N, COUNT).

    A number below N is a head as it is, one from N on is head number - N mirrored, -1 says that there are no more.
    Frames with a tumor whose place is unknown are nobody's neighbor.

    `groups`: int64 (N,), the patients.
    """
    images, boxes, labels = everyone
    coarse = torch.cat([F.avg_pool2d(part[:, None].float(), COARSE) for part in images.split(BLOCK)])
    donors = torch.cat([_standardized(part) for part in (coarse, coarse.flip(3))])
    places = torch.cat((boxes, mirror_boxes(boxes)))
    free, known, donor_groups = (labels == NO_TUMOR).repeat(2), ~places.isnan().any(1), groups.repeat(2)
    neighbors = []
    for rows in torch.arange(len(images), device=images.device).split(BLOCK):
        alike = donors[rows] @ donors.T
        anywhere = boxes[rows].isnan().any(1)[:, None]  # where a head without a lesion is patched is not known yet
        can_give = free | leaves_free(boxes[rows, None], places) | (anywhere & known)
        alike[~can_give | (groups[rows, None] == donor_groups)] = -1
        best, who = alike.topk(min(COUNT, len(donors)), dim=1)
        neighbors.append(F.pad(who.masked_fill(best < LEAST_ALIKE, -1), (0, COUNT - best.shape[1]), value=-1))
    return torch.cat(neighbors)


def pick_neighbors(everyone: Frames, neighbors: Tensor) -> Frames:
    """One of each head's neighbors at random: `neighbors` int64 (N, COUNT), rows of what `find_neighbors` returned.

    A head without neighbors gets some other head, labeled -1. Draws from torch's global generator of the device.
    """
    count = (neighbors >= 0).sum(dim=1)
    drawn = (torch.rand(len(neighbors), device=neighbors.device) * count).long()
    number = neighbors.gather(1, drawn[:, None]).squeeze(1)
    index, mirrored = number.clamp_min(0) % len(everyone.images), number >= len(everyone.images)
    images, boxes = everyone.images[index], everyone.boxes[index]
    images = torch.where(mirrored[:, None, None], images.flip(2), images)
    boxes = torch.where(mirrored[:, None], mirror_boxes(boxes), boxes)
    return Frames(images, boxes, everyone.labels[index].masked_fill(count == 0, -1))


def mirror_boxes(boxes: Tensor) -> Tensor:
    """Left, top, right, bottom as fractions, after left and right have changed places."""
    left, top, right, bottom = boxes.unbind(dim=1)
    return torch.stack((1 - right, top, 1 - left, bottom), dim=1)


def leaves_free(places: Tensor, boxes: Tensor) -> Tensor:
    """Whether a patch on `places` touches nothing of `boxes`; False where one of them is unknown.

    Both (..., 4), left, top, right, bottom as fractions; returns bool (...) of what they broadcast to.
    """
    middle, reach = (places[..., :2] + places[..., 2:]) / 2, (places[..., 2:] - places[..., :2]) / 2 * REACH
    return ((middle + reach <= boxes[..., :2]) | (middle - reach >= boxes[..., 2:])).any(-1)


def rows_of_interest(mask: Tensor) -> Tensor:
    """Numbers of the rows where `mask` (N,) holds; of all on a GPU, where the host would wait for their count."""
    return torch.arange(len(mask), device=mask.device) if mask.is_cuda else torch.nonzero(mask)[:, 0]


def _standardized(images: Tensor) -> Tensor:
    """(N, 1, h, w) -> (N, h * w) of mean 0 and norm 1, so that products are correlations."""
    flat = images.flatten(1)
    return F.normalize(flat - flat.mean(dim=1, keepdim=True), eps=1e-6)
