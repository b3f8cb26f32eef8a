"""Run training.train on images as they are, without the export: `torchrun -m tests.torchrun_training --data DIR ...`.

Nothing is drawn at random in the first epoch, so that one process and several can be compared; from the second one on,
noise of each process's own joins, so that a resumed run has to go on in the middle of it. KILLED_IN_BATCH="RANK NUMBER"
has that process kill itself in that batch of its own.
"""

import os
import signal

import torch

from training import train
from training.augmentation.augment import UNKNOWN
from training.network import STRIDE

drawn = 0


def draw_batch(training_set, chosen, epoch, settings) -> train.Batch:
    """Images of a known class at no known place, and noise on them after the first epoch."""
    global drawn
    drawn += 1
    rank, number = os.environ.get("KILLED_IN_BATCH", "-1 0").split()
    if os.environ.get("RANK") == rank and drawn == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    images = training_set.heads.images[chosen][:, None].float()
    images = torch.nn.functional.interpolate(images, (settings.size, settings.size), mode="area")
    places = (len(chosen), settings.size // STRIDE, settings.size // STRIDE)
    noise = 20 * torch.randn_like(images) * (epoch > 0)
    return train.Batch(images + noise, torch.full(places, UNKNOWN), training_set.heads.labels[chosen])


if __name__ == "__main__":
    train.draw_batch, train.export, train.bf16_is_fast = draw_batch, lambda run: run, lambda device: False
    train.main()
