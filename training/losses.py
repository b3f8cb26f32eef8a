"""What the network is asked for: the image's class, and the class of each position that a tumor's box speaks about."""

import torch
from torch import Tensor

from model import CLASSES, NO_TUMOR

from .augmentation.augment import INSIDE, OUTSIDE

PARTIAL = len(CLASSES)  # the label "tumor": one is there, its type is not known


def log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """Log probability of each label; for the partial label log P(any tumor) = log(1 - P(no tumor)).

    `logits` (N, C), `labels` int64 (N,) in 0..C where C means `PARTIAL`. Returns float32 (N,).
    """
    log_p = logits.log_softmax(dim=1)
    any_tumor = log_p[:, :NO_TUMOR].logsumexp(dim=1)
    full = log_p.gather(1, labels.clamp(max=NO_TUMOR)[:, None]).squeeze(1)
    return torch.where(labels == PARTIAL, any_tumor, full)


def class_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with label smoothing (Szegedy et al. 2015, arXiv:1512.00567); a partial label's is over two."""
    log_p = logits.log_softmax(dim=1)
    any_tumor = log_p[:, :NO_TUMOR].logsumexp(dim=1)
    uniform = torch.where(labels == PARTIAL, (any_tumor + log_p[:, NO_TUMOR]) / 2, log_p.mean(dim=1))
    return -((1 - smoothing) * log_probability(logits, labels) + smoothing * uniform).mean()


def type_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with even odds of the three types, given a tumor, in tumor-free images: the head must not tell.

    `logits` (N, C), `labels` int64 (N,). Returns the mean over tumor-free images, log 3 at best; 0 if there are none.
    """
    evenness = -logits[:, :NO_TUMOR].log_softmax(dim=1).mean(dim=1)
    tumor_free = (labels == NO_TUMOR).float()
    return (evenness * tumor_free).sum() / tumor_free.sum().clamp_min(1)


def position_loss(scores: Tensor, labels: Tensor, said: Tensor) -> Tensor:
    """Cross-entropy of positions: inside the box the image's class, outside it and in tumor-free images "no tumor".

    In a tumor-free image that has a box, an inpainted one, the positions inside are left out: tumor may remain there.

    `scores` (N, C, h, w); `labels` (N,); `said` (N, h, w) as `augment.positions_in_box` returns it. Inside and outside
    weigh the same, and each image that has such positions weighs the same, so that small tumors count.
    """
    n, classes, h, w = scores.shape
    by_position = scores.permute(0, 2, 3, 1).reshape(-1, classes)
    of_image = labels[:, None, None].expand(n, h, w).reshape(-1)
    whole = (labels == NO_TUMOR) & (said != OUTSIDE).flatten(1).all(1)
    inside = ((said == INSIDE) & (labels != NO_TUMOR)[:, None, None]).flatten(1).float()
    outside = ((said == OUTSIDE) | whole[:, None, None]).flatten(1).float()
    as_class = -log_probability(by_position, of_image).view(n, -1)
    as_none = -by_position.log_softmax(dim=1)[:, NO_TUMOR].view(n, -1)
    return (mean_of_images(as_class, inside) + mean_of_images(as_none, outside)) / 2


def mean_of_images(losses: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the images that have chosen positions of the mean over these positions; 0 if there are none."""
    count = chosen.sum(dim=1)
    means = (losses * chosen).sum(dim=1) / count.clamp_min(1)
    return means.sum() / (count > 0).sum().clamp_min(1)
