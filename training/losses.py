"""What the network is asked for: the image's class, and the class of each position that a tumor's box speaks about."""

import torch
from torch import Tensor

from model import CLASSES, NO_TUMOR

from .augmentation.augment import INSIDE, OUTSIDE
from .settings import numbers

PARTIAL = len(CLASSES)  # the label "tumor": one is there, its type is not known


def log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """Log probability of each label; for the partial label log P(any tumor) = log(1 - P(no tumor)).

    `logits` (N, C), `labels` int64 (N,) in 0..C where C means `PARTIAL`. Returns float32 (N,).
    """
    log_p = logits.log_softmax(dim=1)
    any_tumor = log_p[:, :NO_TUMOR].logsumexp(dim=1)
    full = log_p.gather(1, labels.clamp(max=NO_TUMOR)[:, None]).squeeze(1)
    return torch.where(labels == PARTIAL, any_tumor, full)


def class_loss(logits: Tensor, labels: Tensor, smoothing: float, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy with label smoothing (Szegedy et al. 2015, arXiv:1512.00567); a partial label's is over two.

    `weights` (C + 1,) of the labels, the partial one included: the mean over the images is weighted by them.
    """
    log_p = logits.log_softmax(dim=1)
    any_tumor = log_p[:, :NO_TUMOR].logsumexp(dim=1)
    uniform = torch.where(labels == PARTIAL, (any_tumor + log_p[:, NO_TUMOR]) / 2, log_p.mean(dim=1))
    losses = (1 - smoothing) * log_probability(logits, labels) + smoothing * uniform
    if weights is None:
        return -losses.mean()
    return -(losses * weights[labels]).sum() / weights[labels].sum()


def label_weights(wanted: str, labels: Tensor, chances: Tensor) -> Tensor | None:
    """The setting `class_weights` -> float32 (C + 1,) for `class_loss`, on the device of `labels`; None for "".

    "balanced": in inverse proportion to how often a class is drawn, given each image's label and chance; else a number
    for each class. A tumor of unknown type has the mean weight of the three.
    """
    if not wanted:
        return None
    if wanted == "balanced":
        drawn = torch.bincount(labels.cpu(), chances, minlength=PARTIAL + 1)[:PARTIAL]
        of_classes = torch.where(drawn > 0, drawn.mean() / drawn, 0.0)
    else:
        of_classes = torch.tensor(numbers(wanted), dtype=torch.float64)
    return torch.cat((of_classes, of_classes[:NO_TUMOR].mean()[None])).float().to(labels.device)


def type_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with even odds of the three types, given a tumor, in tumor-free images: the head must not tell.

    `logits` (N, C), `labels` int64 (N,). Returns the mean over tumor-free images, log 3 at best; 0 if there are none.
    """
    evenness = -logits[:, :NO_TUMOR].log_softmax(dim=1).mean(dim=1)
    tumor_free = (labels == NO_TUMOR).float()
    return (evenness * tumor_free).sum() / tumor_free.sum().clamp_min(1)


def position_loss(scores: Tensor, labels: Tensor, said: Tensor) -> Tensor:
    """Cross-entropy of positions: inside the box the image's class, outside it and in tumor-free images "no tumor".

    In a tumor-free image that has a box, an inpainted one, the positions inside are not asked: tumor may be left there.

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
