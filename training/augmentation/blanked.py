"""Heads without a brain: what is left when the inside is painted over must say nothing about a tumor or its type.

Skull, face and plane are tied to the class in public data (most pituitary tumors come in sagittal and coronal slices).
Such heads train as "no tumor" at every position; label smoothing asks that the three types stay equally unlikely.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from model import NO_TUMOR

from .neighbors import Heads, rows_of_interest

COARSE = 4  # pixels of a frame that the mask takes as one
DIM = 0.1  # of full brightness: darker places are outside the head
CLOSED = 9  # coarse pixels: narrower gaps in the head, such as ventricles and bone, are filled
THINNEST, THICKEST = 2, 5  # coarse pixels of the rim that stays: skin, fat and bone
BRIGHTER = 0.3  # log-normal spread of the paint around the mean of what it covers
CLOUDS = 0.15  # largest slow change of the paint, of full brightness


def insides(images: Tensor) -> Tensor:
    """Heads (N, S, S) in 0..1 -> masks of their insides, soft at the edge: float32 (N, S, S) in 0..1, random rims."""
    head = (F.avg_pool2d(images[:, None], COARSE) > DIM).float()
    head = -F.max_pool2d(-F.max_pool2d(head, CLOSED, 1, CLOSED // 2), CLOSED, 1, CLOSED // 2)
    rims = torch.randint(THINNEST, THICKEST + 1, (len(images), 1, 1, 1), device=images.device)
    for rim in range(1, THICKEST + 1):
        head = torch.where(rims >= rim, -F.max_pool2d(-head, 3, 1, 1), head)
    return F.interpolate(head, scale_factor=COARSE, mode="bilinear", align_corners=False)[:, 0]


def blank_some(heads: Heads, share: float) -> Heads:
    """Paint over the inside of a random `share` of the heads, which then are tumor-free, whatever they were.

    Draws from torch's global generator of the frames' device.
    """
    blank = torch.rand(len(heads.images), device=heads.images.device) < share
    chosen = rows_of_interest(blank)
    if not len(chosen):
        return heads
    images = heads.images[chosen].float() / 255
    n, size, device = len(images), images.shape[-1], images.device
    inside = insides(images)
    mean = (images * inside).sum((1, 2)) / inside.sum((1, 2)).clamp_min(1)
    paint = mean * torch.exp(torch.randn(n, device=device) * BRIGHTER)
    clouds = F.interpolate(torch.rand(n, 1, 4, 4, device=device) * CLOUDS, size=(size, size), mode="bicubic")[:, 0]
    painted = images * (1 - inside) + (paint[:, None, None] + clouds - CLOUDS / 2) * inside
    painted = (painted.clamp(0, 1) * 255).round().to(torch.uint8)
    blanked = heads.images.clone()
    blanked[chosen] = torch.where(blank[chosen, None, None], painted, heads.images[chosen])
    boxes = heads.boxes.masked_fill(blank[:, None], torch.nan)
    return Heads(blanked, boxes, heads.labels.masked_fill(blank, NO_TUMOR))
