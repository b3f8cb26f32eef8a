"""BatchNorm over the parts of a batch that several processes hold, as if one process held them all."""

import torch
import torch.distributed as dist
from torch import Tensor, nn


class SumOverProcesses(torch.autograd.Function):
    """The sum over all processes, in each of them; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(context, part: Tensor) -> Tensor:
        whole = part.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        whole = gradient.clone()
        dist.all_reduce(whole)
        return whole


def mean_of_all(part: Tensor) -> Tensor:
    return SumOverProcesses.apply(part) / dist.get_world_size()


class SyncedNorm(nn.BatchNorm2d):
    """`nn.SyncBatchNorm` for CPUs, which PyTorch lacks. Every process has as many images."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape and dtype; statistics in float32."""
        if not self.training:
            return super().forward(x)
        values = x.float()
        mean = mean_of_all(values.mean((0, 2, 3)))
        centered = values - mean[:, None, None]  # two passes: the difference of squares would lose what is small
        variance = mean_of_all(centered.square().mean((0, 2, 3)))
        with torch.no_grad():
            count = x.numel() / x.shape[1] * dist.get_world_size()
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def synced(net: nn.Module, device: torch.device) -> nn.Module:
    """`net` with its norms, parameters and all, replaced by ones that see every process's images."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    for name, child in net.named_children():
        if isinstance(child, nn.BatchNorm2d):
            norm = SyncedNorm(child.num_features, child.eps, child.momentum)
            norm.weight, norm.bias = child.weight, child.bias
            norm.load_state_dict(child.state_dict())
            net.add_module(name, norm)
        else:
            synced(child, device)
    return net
