"""The optimizer, and the averaged weights that are validated and kept."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .network import TumorNet
from .settings import Settings

BETAS = (0.9, 0.99)  # of both Adams: the second moment follows a run of a few hundred steps


def make_optimizer(net: TumorNet, settings: Settings) -> torch.optim.Optimizer:
    """AdamW, or Adam with an L2 penalty, over what of `net` is to be trained."""
    kind = {"decoupled": torch.optim.AdamW, "l2": torch.optim.Adam}[settings.decay]
    return kind(parameter_groups(net, settings.weight_decay), betas=BETAS, fused=True)


def parameter_groups(net: TumorNet, weight_decay: float) -> list[dict]:
    """Decay the convolutions only; norms, biases and the pooling's sharpness stay free."""
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if parameter.ndim > 1]
    free = [parameter for parameter in trained if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def averaged_copy(net: TumorNet, decay: float) -> AveragedModel:
    """Exponential moving average of `net`, norms' statistics too; shorter at first, to forget the random start soon."""
    averaged = AveragedModel(net, use_buffers=True)
    averaged.multi_avg_fn = moving_average(decay, averaged.n_averaged)
    return averaged


def moving_average(decay: float, updates: Tensor) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """The rule for `AveragedModel`. `updates`: its counter, which lies on the CPU: to read the copy that the rule is
    given would wait for the device.
    """

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], _: Tensor) -> None:
        if not averaged[0].is_floating_point():  # BatchNorm's counters
            for one, latest in zip(averaged, current, strict=True):
                one.copy_(latest)
            return
        count = float(updates)
        get_ema_multi_avg_fn(min(decay, (1 + count) / (10 + count)))(averaged, current, _)

    return update
