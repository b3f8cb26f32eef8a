"""Lesions moved between heads, so that neither the head nor its source tells the label any more.

Tumors are *inpainted* (covered with the tissue of a neighbor, another patient's head that looks alike, or with the
mirrored tissue of the other hemisphere: now a normal head of a tumor source) and *transplanted* (into a tumor-free head
of another source). Tumor-free heads get such patches too, and so do heads that keep their tumor, elsewhere, as
*distractors*: the seam of a patch says nothing. Skull, face and plane are tied to the class as well: heads whose inside
is painted over train as "no tumor" at every position, by label smoothing without a word on the type.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model import CLASSES, NO_TUMOR

from ..data.frames import Frames
from .neighbors import REACH, leaves_free, mirror_boxes, rows_of_interest

MENINGIOMA, PITUITARY = CLASSES.index("meningioma"), CLASSES.index("pituitary")
COVERED, FEATHERED = 1.15, REACH  # of the box's half axes: the patch is whole up to the first, gone at the second
SYMMETRIC = 0.55  # correlation of the two halves: true of axial and coronal slices, not of sagittal ones
LARGEST = 0.14  # of the frame, a box's half axis: larger tumors push the whole brain aside, which no patch undoes
TISSUE = 0.12  # of full brightness: darker places of the receiving head are no tissue
COARSE = 4  # pixels of a frame that count as one where brightness, symmetry and the inside are measured
GAIN = (0.4, 2.5)  # how far borrowed tissue is dimmed or brightened to match its new surroundings

# Of blanked heads:
DIM = 0.1  # of full brightness: darker places are outside the head
CLOSED = 9  # coarse pixels: narrower gaps in the head, such as ventricles and bone, are filled
THINNEST, THICKEST = 2, 5  # coarse pixels of the rim that stays: skin, fat and bone
BRIGHTER = 0.3  # log-normal spread of the paint around the mean of what it covers
CLOUDS = 0.15  # largest slow change of the paint, of full brightness


class Share(NamedTuple):
    """How many of the images that allow it are changed."""

    inpainted: float = 0.4  # meningiomas and pituitary tumors
    inpainted_diffuse: float = 0.15  # gliomas and tumors of unknown type: they reach beyond what is covered
    transplanted: float = 0.3
    patched: float = 0.2  # tumor-free heads with a patch of healthy tissue
    distractors: float = 0.1  # heads that keep their tumor, with a patch of healthy tissue elsewhere
    neighbors: float = 0.7  # of the patches whose tissue could come from a neighbor or the other half: from a neighbor


# For the end of a run: small lesions must be seen often as what they are.
FEWER = Share(inpainted=0.1, inpainted_diffuse=0.0, transplanted=0.15, patched=0.1, distractors=0.0)


def move_lesions(heads: Frames, neighbors: Frames, share: Share) -> Frames:
    """Inpaint, transplant and patch some heads of a batch; the others stay as they are.

    `neighbors`: for each head one that looks like it (training/augmentation/neighbors.py). An inpainted head's box
    holds its patch: what is left of a tumor or of its edema around it is no tissue to call tumor-free.
    Draws from torch's global generator of the frames' device.
    """
    frames, boxes, labels = heads
    n, device = len(frames), frames.device
    donors = torch.randint(0, n, (n,), device=device)
    tumor_free = labels == NO_TUMOR
    keeps_tumor = ~tumor_free & (torch.rand(n, device=device) < share.distractors) & leaves_free(boxes[donors], boxes)
    # Tumor-free heads, and those that keep their tumor, are patched where a donor's tumor is; the others on their own.
    places = torch.where((tumor_free | keeps_tumor)[:, None], boxes[donors], boxes)
    center, half = (places[:, :2] + places[:, 2:]) / 2, (places[:, 2:] - places[:, :2]) / 2
    small = (half <= LARGEST).all(1)  # False for NaN

    coarse, coarse_neighbors = (F.avg_pool2d(part.images[:, None] / 255, COARSE)[:, 0] for part in (heads, neighbors))
    distance = ellipses(places.nan_to_num(0.5), coarse.shape[-1])
    ring = ((distance > COVERED) & (distance < FEATHERED)).float()
    by_mirror = (center[:, 0] - 0.5).abs() > FEATHERED * half[:, 0]
    by_mirror &= symmetry(coarse, (distance > FEATHERED).float()) > SYMMETRIC
    by_mirror &= ~keeps_tumor | leaves_free(mirror_boxes(places), boxes)
    by_neighbor = (neighbors.labels == NO_TUMOR) | ((neighbors.labels >= 0) & leaves_free(places, neighbors.boxes))
    on_tissue = masked_mean(coarse, (distance < 1).float()) > TISSUE

    chance = torch.rand(n, device=device)
    can_patch = small & (by_mirror | by_neighbor)
    circumscribed = (labels == MENINGIOMA) | (labels == PITUITARY)
    inpaint = chance < torch.where(circumscribed, share.inpainted, share.inpainted_diffuse)
    inpaint &= ~tumor_free & ~keeps_tumor & can_patch
    transplant = tumor_free & small & on_tissue & (chance < share.transplanted)
    transplant &= (labels[donors] != NO_TUMOR) & (labels[donors] != PITUITARY)
    patch = can_patch & (keeps_tumor | (tumor_free & (chance > 1 - share.patched)))
    from_neighbor = by_neighbor & (~by_mirror | (torch.rand(n, device=device) < share.neighbors))

    around = masked_mean(coarse, ring)
    gains = (around / masked_mean(given, ring).clamp_min(0.02) for given in (coarse[donors], coarse_neighbors))
    of_donor, of_neighbor = (gain.clamp(*GAIN)[:, None, None] for gain in gains)
    change = inpaint | transplant | patch
    changed = rows_of_interest(change)  # only these are touched in full size
    lesion, healthy = frames[donors[changed]] * of_donor[changed], neighbors.images[changed] * of_neighbor[changed]
    healthy = torch.where(from_neighbor[changed, None, None], healthy, frames[changed].flip(2).float())
    source = torch.where(transplant[changed, None, None], lesion, healthy).clamp(0, 255)
    cover = (FEATHERED - ellipses(places[changed], frames.shape[-1])) / (FEATHERED - COVERED)
    cover = cover.clamp(0, 1).where(change[changed, None, None], 0)
    mixed = frames.clone()
    mixed[changed] = torch.lerp(frames[changed].float(), source, cover).round().to(torch.uint8)

    patches = torch.cat((center - half * FEATHERED, center + half * FEATHERED), dim=1)
    new_boxes = torch.where(transplant[:, None], places, torch.where(inpaint[:, None], patches, boxes))
    new_labels = torch.where(transplant, labels[donors], labels.masked_fill(inpaint, NO_TUMOR))
    return Frames(mixed, new_boxes, new_labels)


def blank_some(heads: Frames, share: float) -> Frames:
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
    paint = masked_mean(images, inside) * torch.exp(torch.randn(n, device=device) * BRIGHTER)
    clouds = F.interpolate(torch.rand(n, 1, 4, 4, device=device) * CLOUDS, size=(size, size), mode="bicubic")[:, 0]
    painted = images * (1 - inside) + (paint[:, None, None] + clouds - CLOUDS / 2) * inside
    painted = (painted.clamp(0, 1) * 255).round().to(torch.uint8)
    blanked = heads.images.clone()
    blanked[chosen] = torch.where(blank[chosen, None, None], painted, heads.images[chosen])
    boxes = heads.boxes.masked_fill(blank[:, None], torch.nan)
    return Frames(blanked, boxes, heads.labels.masked_fill(blank, NO_TUMOR))


# ---- measures of a batch


def ellipses(boxes: Tensor, size: int) -> Tensor:
    """Distance of each pixel from the box's center in half axes: float32 (N, size, size); boxes (N, 4) in fractions."""
    place = (torch.arange(size, device=boxes.device) + 0.5) / size
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp_min(0.01)
    x = (place - middle[:, :1]) / half[:, :1]
    y = (place - middle[:, 1:]) / half[:, 1:]
    return (x[:, None, :] ** 2 + y[:, :, None] ** 2).sqrt()


def masked_mean(images: Tensor, mask: Tensor) -> Tensor:
    """Mean (N,) of the images (N, S, S) where `mask` (N, S, S) is 1; 0 where it is nowhere."""
    return (images * mask).sum((1, 2)) / mask.sum((1, 2)).clamp_min(1)


def symmetry(images: Tensor, outside: Tensor) -> Tensor:
    """Correlation (N,) of the heads in `images` (N, S, S) with their mirror images, where `outside` holds in both."""
    head = torch.maximum(images, images.flip(2)) > TISSUE
    both = outside * outside.flip(2) * head
    here, there = (part - masked_mean(part, both)[:, None, None] for part in (images, images.flip(2)))
    product, power = masked_mean(here * there, both), masked_mean(here**2, both)
    return product / power.clamp_min(1e-6)


def insides(images: Tensor) -> Tensor:
    """Heads (N, S, S) in 0..1 -> masks of their insides, soft at the edge: float32 (N, S, S) in 0..1, random rims."""
    head = (F.avg_pool2d(images[:, None], COARSE) > DIM).float()
    head = -F.max_pool2d(-F.max_pool2d(head, CLOSED, 1, CLOSED // 2), CLOSED, 1, CLOSED // 2)
    rims = torch.randint(THINNEST, THICKEST + 1, (len(images), 1, 1, 1), device=images.device)
    for rim in range(1, THICKEST + 1):
        head = torch.where(rims >= rim, -F.max_pool2d(-head, 3, 1, 1), head)
    return F.interpolate(head, scale_factor=COARSE, mode="bilinear", align_corners=False)[:, 0]
