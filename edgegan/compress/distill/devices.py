"""Where a distillation runs: one process, or the processes that `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from edgegan.compress.distill.settings import DistillSettings


def launch(settings: DistillSettings, *, alone: bool = False) -> Fabric:
    """Join the processes that `torchrun` started, or start `alone`; take the GPU where there is one."""
    sizes = ("WORLD_SIZE", "LOCAL_WORLD_SIZE")
    world, local = (1 if alone else int(os.environ.get(name, "1")) for name in sizes)
    precision = settings.precision
    if precision == "auto":
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16" if native else "fp32"
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


@contextmanager
def arithmetic(settings: DistillSettings) -> Iterator[None]:
    """Set the fast kernels of this process, and set back what was there, torch's generators included."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, torch.get_float32_matmul_precision()
    cudnn.benchmark, cudnn.deterministic = not settings.deterministic, settings.deterministic
    torch.set_float32_matmul_precision("high" if torch.cuda.is_available() else before[2])
    try:
        with torch.random.fork_rng():
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic, precision = before
        torch.set_float32_matmul_precision(precision)


def prepare(module: nn.Module, fabric: Fabric) -> nn.Module:
    """Move `module` to the process's device, in the memory layout that is fast there."""
    if fabric.device.type == "cuda":
        module = module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return module.to(fabric.device)


def average(fabric: Fabric, tensor: Tensor) -> Tensor:
    """Return the mean of `tensor` over all processes."""
    mean = fabric.all_reduce(tensor, reduce_op="mean")
    assert isinstance(mean, Tensor)
    return mean


def average_gradients(fabric: Fabric, parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients by their means over all processes, in one transfer."""
    if fabric.world_size == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    pieces = average(fabric, flat).split([gradient.numel() for gradient in gradients])
    for gradient, piece in zip(gradients, pieces):
        gradient.copy_(piece.view_as(gradient))
