"""What changes along a run: the learning rate and the size of the images."""

import math

from .settings import STEP, Settings


def learning_rate_at(step: int, total_steps: int, warmup_steps: int, peak: float) -> float:
    """Linear warm-up to `peak`, then half a cosine down to zero."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def image_size_at(epoch: int, settings: Settings) -> int:
    """Small images first, the full size from half of the run on (progressive resizing); a multiple of 32."""
    progress = min(1.0, epoch / max(1, settings.epochs // 2))
    size = settings.smallest_size + (settings.size - settings.smallest_size) * progress
    return int(size) // STEP * STEP
