"""Batch normalization while a network learns: statistics over all processes, recalibrated at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


class GlobalBatchNorm(_BatchNorm):
    """Batch normalization over the batches of all processes; unlike `nn.SyncBatchNorm`, on CPUs too."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (N, C, ...) of every process together."""
        if not self.training:
            return super().forward(input)
        axes = [0, *range(2, input.ndim)]
        x = input.float()
        moments = torch.stack([x.mean(axes), x.square().mean(axes)])
        mean, square = all_reduce(moments) / torch.distributed.get_world_size()
        variance = (square - mean.square()).clamp(min=0)
        self._track(mean.detach(), variance.detach(), x.numel() // x.shape[1])
        shape = (1, -1, *[1] * (x.ndim - 2))
        y = (x - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, local: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        count = local * torch.distributed.get_world_size()
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / (count - 1)), share)


def share_statistics(module: nn.Module) -> None:
    """Replace each batch normalization inside `module` by one over all processes, of the same parameters."""
    for parent in list(module.modules()):
        for key, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                shared = GlobalBatchNorm(
                    child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
                )
                shared.weight, shared.bias = child.weight, child.bias
                shared.running_mean, shared.running_var = child.running_mean, child.running_var
                shared.num_batches_tracked = child.num_batches_tracked
                setattr(parent, key, shared.train(child.training))


def batch_norms(module: nn.Module) -> dict[str, _BatchNorm]:
    """Return the batch normalizations inside `module` that keep running statistics, by name."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None
    }


def learning_mode(module: nn.Module) -> nn.Module:
    """Put `module` in eval mode, so that it adds no noise, but for its batch normalizations; return it."""
    module.eval()
    for norm in batch_norms(module).values():
        norm.train()
    return module


@torch.no_grad()
def recalibrate(module: nn.Module, batches: Iterable[Sequence[Tensor]]) -> None:
    """Replace the running statistics of `module`'s batch normalizations by their means over `batches`."""
    norms = batch_norms(module).values()
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    learning_mode(module)
    for inputs in batches:
        module(*inputs)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    module.eval()
