"""Lesions moved between heads, so that neither the head nor its source tells the label any more.

In the public data a tumor comes with its source: figshare has nothing but tumors, most normals are of other sources.
Here tumors are *healed* (covered with the mirrored tissue of the other hemisphere: now a normal head of a tumor source)
and *transplanted* (into a tumor-free head of another source). Tumor-free heads get mirrored patches too, so that the
seam of a patch says nothing.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model import CLASSES, NO_TUMOR

PITUITARY = CLASSES.index("pituitary")
COVERED, FEATHERED = 1.15, 1.55  # of the box's half axes: the patch is whole up to the first, gone at the second
SYMMETRIC = 0.55  # correlation of the two halves: true of axial and coronal slices, not of sagittal ones
LARGEST = 0.14  # of the frame, a box's half axis: larger tumors push the whole brain aside, which no patch heals
TISSUE = 0.12  # of full brightness: darker places of the receiving head are no tissue


class Share(NamedTuple):
    """How many of the images that allow it are changed."""

    healed: float = 0.7
    transplanted: float = 0.3
    patched: float = 0.3  # tumor-free heads with a mirrored patch of their own


FEWER = Share(healed=0.35)  # for the end of a run: small lesions must be seen often as what they are


def ellipses(boxes: Tensor, size: int) -> Tensor:
    """Distance of each pixel from the box's center in half axes: float32 (N, size, size); boxes (N, 4) in fractions."""
    place = (torch.arange(size, device=boxes.device) + 0.5) / size
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp_min(0.01)
    x = (place - middle[:, :1]) / half[:, :1]
    y = (place - middle[:, 1:]) / half[:, 1:]
    return (x[:, None, :] ** 2 + y[:, :, None] ** 2).sqrt()


def masked_mean(images: Tensor, mask: Tensor) -> Tensor:
    return (images * mask).sum((1, 2)) / mask.sum((1, 2)).clamp_min(1)


def symmetry(images: Tensor, outside: Tensor) -> Tensor:
    """Correlation (N,) of the heads in `images` (N, S, S) with their mirror images, where `outside` holds in both."""
    coarse = F.avg_pool2d(images[:, None], 4)[:, 0]
    head = torch.maximum(coarse, coarse.flip(2)) > TISSUE
    both = F.avg_pool2d((outside * outside.flip(2))[:, None], 4)[:, 0] * head
    here, there = (part - masked_mean(part, both)[:, None, None] for part in (coarse, coarse.flip(2)))
    product, power = masked_mean(here * there, both), masked_mean(here**2, both)
    return product / power.clamp_min(1e-6)


def move_lesions(frames: Tensor, boxes: Tensor, labels: Tensor, share: Share) -> tuple[Tensor, Tensor, Tensor]:
    """Heal, transplant and patch some images of a batch; the others stay as they are.

    Args and returns: `frames` uint8 (N, S, S), `boxes` float32 (N, 4) fractions of the frame (NaN where unknown),
    `labels` int64 (N,). A healed head's box holds its patch: what is left of a tumor or of its edema around it is no
    tissue to call tumor-free. Draws from torch's global generator of the frames' device.
    """
    n, size, device = len(frames), frames.shape[-1], frames.device
    images = frames.float() / 255
    donors = torch.randint(0, n, (n,), device=device)
    tumor_free = labels == NO_TUMOR
    # A tumor-free head borrows the place of a donor's tumor; a tumor head has its own.
    places = torch.where(tumor_free[:, None], boxes[donors], boxes)
    half = (places[:, 2:] - places[:, :2]) / 2
    center = (places[:, :2] + places[:, 2:]) / 2
    small = (half <= LARGEST).all(1)  # False for NaN
    distance = ellipses(places.nan_to_num(0.5), size)
    cover = ((FEATHERED - distance) / (FEATHERED - COVERED)).clamp(0, 1)
    ring = ((distance > COVERED) & (distance < FEATHERED)).float()
    beside_midline = (center[:, 0] - 0.5).abs() > FEATHERED * half[:, 0]
    mirrored = images.flip(2)
    symmetric = symmetry(images, (distance > FEATHERED).float()) > SYMMETRIC
    on_tissue = masked_mean(images, (distance < 1).float()) > TISSUE

    chance = torch.rand(n, device=device)
    can_mirror = small & beside_midline & symmetric
    heal = ~tumor_free & can_mirror & (chance < share.healed)
    transplant = tumor_free & small & on_tissue & (labels[donors] != NO_TUMOR) & (labels[donors] != PITUITARY)
    transplant &= chance < share.transplanted
    patch = tumor_free & can_mirror & (chance > 1 - share.patched)

    gain = masked_mean(images, ring) / masked_mean(images[donors], ring).clamp_min(0.02)
    lesions = (images[donors] * gain.clamp(0.4, 2.5)[:, None, None]).clamp(0, 1)
    source = torch.where(transplant[:, None, None], lesions, mirrored)
    cover = cover * (heal | transplant | patch)[:, None, None]
    mixed = ((images * (1 - cover) + source * cover) * 255).round().to(torch.uint8)
    reach = half * FEATHERED
    healed_place = torch.cat((center - reach, center + reach), dim=1)
    new_boxes = torch.where(transplant[:, None], places, torch.where(heal[:, None], healed_place, boxes))
    new_labels = torch.where(transplant, labels[donors], labels.masked_fill(heal, NO_TUMOR))
    return mixed, new_boxes, new_labels
