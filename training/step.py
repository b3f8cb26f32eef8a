"""One step of training, as a run takes it and as its speed is measured."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from .augmentation.batches import Batch
from .losses import class_loss, position_loss, type_loss
from .network import TumorNet
from .processes import Processes
from .settings import Settings

WATCHED = ("loss", "class_loss", "position_loss", "type_loss", "gradient_norm")  # of a step, in this order


@dataclass(frozen=True)
class Step:
    """Forward, the losses of the whole batch, backward, the optimizer, the averaged weights: no wait for the device."""

    net: TumorNet
    forward: nn.Module  # `net` as it is called: compiled, or with other processes
    optimizer: torch.optim.Optimizer
    averaged: AveragedModel
    settings: Settings
    processes: Processes
    weights: Tensor | None  # of the labels, as `losses.class_loss` takes them
    bf16: bool

    def __call__(self, batch: Batch) -> Tensor:
        """Learn from this process's part of a batch; returns `WATCHED` of the whole, float32 (5,), on the device."""
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self.bf16):
            output = self.forward(batch.images.contiguous(memory_format=torch.channels_last))
        answers = output.logits, output.scores, batch.labels, batch.said
        logits, scores, labels, said = map(self.processes.gather, answers)  # the loss is of the whole batch
        of_image = class_loss(logits, labels, self.settings.label_smoothing, self.weights)
        of_positions = position_loss(scores, labels, said)
        of_types = type_loss(logits, labels)
        loss = of_image + self.settings.position_weight * of_positions + self.settings.even_types * of_types
        self.optimizer.zero_grad(set_to_none=True)
        (loss * self.processes.count).backward()  # each has the gradient of its part, and the mean of them is taken
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.averaged.update_parameters(self.net)
        return torch.stack((loss, of_image, of_positions, of_types, norm)).detach()
