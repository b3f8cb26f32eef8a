"""What changes along a run: the learning rate and the size of the images."""

import math
from collections.abc import Sequence

from .settings import STEP, Settings


def learning_rate_at(step: int, total_steps: int, warmup_steps: int, peak: float, schedule: str = "cosine") -> float:
    """Linear warm-up to `peak`; then half a cosine down to zero, or `peak` if the schedule is another."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if schedule != "cosine":
        return peak
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def drops(scores: Sequence[float], patience: int) -> int:
    """How often the learning rate has fallen at a plateau, after epochs with these scores, higher ones being better.

    It falls once more than `patience` epochs in a row were not better than the best before them (test: as
    `torch.optim.lr_scheduler.ReduceLROnPlateau` does it). A function of the history has nothing to save or restore.
    """
    count, waited, best = 0, 0, -math.inf
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited > patience:
            count, waited = count + 1, 0
    return count


def image_size_at(epoch: int, settings: Settings) -> int:
    """Small images first, the full size from half of the run on (progressive resizing); a multiple of 32."""
    progress = min(1.0, epoch / max(1, settings.epochs // 2))
    size = settings.smallest_size + (settings.size - settings.smallest_size) * progress
    return int(size) // STEP * STEP
