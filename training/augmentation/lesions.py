"""Lesions moved between heads, so that neither the head nor its source tells the label any more.

In the public data a tumor comes with its source: figshare has nothing but tumors, most normals are of other sources.
Here tumors are *healed* (covered with the tissue of a twin, another patient's head that looks alike, or with the
mirrored tissue of the other hemisphere: now a normal head of a tumor source) and *transplanted* (into a tumor-free head
of another source). Tumor-free heads get such patches too, and so do heads that keep their tumor, elsewhere: the seam of
a patch says nothing.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model import CLASSES, NO_TUMOR

from .neighbors import REACH, Heads, leaves_free, mirror_boxes, rows_of_interest

MENINGIOMA, PITUITARY = CLASSES.index("meningioma"), CLASSES.index("pituitary")
COVERED, FEATHERED = 1.15, REACH  # of the box's half axes: the patch is whole up to the first, gone at the second
SYMMETRIC = 0.55  # correlation of the two halves: true of axial and coronal slices, not of sagittal ones
LARGEST = 0.14  # of the frame, a box's half axis: larger tumors push the whole brain aside, which no patch heals
TISSUE = 0.12  # of full brightness: darker places of the receiving head are no tissue
COARSE = 4  # pixels of a frame that count as one where brightness and symmetry are measured
GAIN = (0.4, 2.5)  # how far borrowed tissue is dimmed or brightened to match its new surroundings


class Share(NamedTuple):
    """How many of the images that allow it are changed."""

    healed: float = 0.4  # meningiomas and pituitary tumors
    healed_diffuse: float = 0.15  # gliomas and tumors of unknown type: they reach beyond what is covered
    transplanted: float = 0.3
    patched: float = 0.2  # tumor-free heads with a patch of healthy tissue
    decoys: float = 0.1  # heads that keep their tumor, with a patch of healthy tissue elsewhere
    twins: float = 0.7  # of the patches whose tissue could come from a twin or from the other half: from the twin


# For the end of a run: small lesions must be seen often as what they are.
FEWER = Share(healed=0.1, healed_diffuse=0.0, transplanted=0.15, patched=0.1, decoys=0.0)


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
    head = torch.maximum(images, images.flip(2)) > TISSUE
    both = outside * outside.flip(2) * head
    here, there = (part - masked_mean(part, both)[:, None, None] for part in (images, images.flip(2)))
    product, power = masked_mean(here * there, both), masked_mean(here**2, both)
    return product / power.clamp_min(1e-6)


def move_lesions(heads: Heads, twins: Heads, share: Share) -> Heads:
    """Heal, transplant and patch some heads of a batch; the others stay as they are.

    `twins`: for each head one that looks like it (training/augmentation/neighbors.py). A healed head's box holds its patch: what is left
    of a tumor or of its edema around it is no tissue to call tumor-free. Draws from torch's global generator of the
    frames' device.
    """
    frames, boxes, labels = heads
    n, device = len(frames), frames.device
    donors = torch.randint(0, n, (n,), device=device)
    tumor_free = labels == NO_TUMOR
    keeps_tumor = ~tumor_free & (torch.rand(n, device=device) < share.decoys) & leaves_free(boxes[donors], boxes)
    # Tumor-free heads, and those that keep their tumor, are patched where a donor's tumor is; the others on their own.
    places = torch.where((tumor_free | keeps_tumor)[:, None], boxes[donors], boxes)
    half = (places[:, 2:] - places[:, :2]) / 2
    center = (places[:, :2] + places[:, 2:]) / 2
    small = (half <= LARGEST).all(1)  # False for NaN

    coarse, coarse_twins = (F.avg_pool2d(part.images[:, None] / 255, COARSE)[:, 0] for part in (heads, twins))
    distance = ellipses(places.nan_to_num(0.5), coarse.shape[-1])
    ring = ((distance > COVERED) & (distance < FEATHERED)).float()
    beside_midline = (center[:, 0] - 0.5).abs() > FEATHERED * half[:, 0]
    symmetric = symmetry(coarse, (distance > FEATHERED).float()) > SYMMETRIC
    mirror_is_healthy = ~keeps_tumor | leaves_free(mirror_boxes(places), boxes)
    by_mirror = beside_midline & symmetric & mirror_is_healthy
    by_twin = (twins.labels == NO_TUMOR) | ((twins.labels >= 0) & leaves_free(places, twins.boxes))
    on_tissue = masked_mean(coarse, (distance < 1).float()) > TISSUE

    chance = torch.rand(n, device=device)
    can_patch = small & (by_mirror | by_twin)
    circumscribed = (labels == MENINGIOMA) | (labels == PITUITARY)
    healed = torch.where(circumscribed, share.healed, share.healed_diffuse)
    heal = ~tumor_free & ~keeps_tumor & can_patch & (chance < healed)
    transplant = tumor_free & small & on_tissue & (labels[donors] != NO_TUMOR) & (labels[donors] != PITUITARY)
    transplant &= chance < share.transplanted
    patch = can_patch & (keeps_tumor | (tumor_free & (chance > 1 - share.patched)))
    from_twin = by_twin & (~by_mirror | (torch.rand(n, device=device) < share.twins))

    around = masked_mean(coarse, ring)
    gains = [around / masked_mean(given, ring).clamp_min(0.02) for given in (coarse[donors], coarse_twins)]
    gains = [gain.clamp(*GAIN)[:, None, None] for gain in gains]
    change = heal | transplant | patch
    changed = rows_of_interest(change)  # only these are touched in full size
    lesion = frames[donors[changed]] * gains[0][changed]
    healthy = twins.images[changed] * gains[1][changed]
    healthy = torch.where(from_twin[changed, None, None], healthy, frames[changed].flip(2).float())
    source = torch.where(transplant[changed, None, None], lesion, healthy).clamp(0, 255)
    cover = (FEATHERED - ellipses(places[changed], frames.shape[-1])) / (FEATHERED - COVERED)
    cover = cover.clamp(0, 1).where(change[changed, None, None], 0)
    mixed = frames.clone()
    mixed[changed] = torch.lerp(frames[changed].float(), source, cover).round().to(torch.uint8)

    reach = half * FEATHERED
    healed_place = torch.cat((center - reach, center + reach), dim=1)
    new_boxes = torch.where(transplant[:, None], places, torch.where(heal[:, None], healed_place, boxes))
    new_labels = torch.where(transplant, labels[donors], labels.masked_fill(heal, NO_TUMOR))
    return Heads(mixed, new_boxes, new_labels)
