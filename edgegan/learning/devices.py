"""Where learning runs: one process, or the processes that `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

Precision = Literal["auto", "fp32", "bf16"]


def launch(precision: Precision, *, alone: bool = False) -> Fabric:
    """Join the processes that `torchrun` started, or start `alone`; take the GPU where there is one.

    `precision` is the arithmetic of the forward passes: `auto` is bf16 on GPUs that have it.
    """
    sizes = ("WORLD_SIZE", "LOCAL_WORLD_SIZE")
    world, local = (1 if alone else int(os.environ.get(name, "1")) for name in sizes)
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
def arithmetic(*, deterministic: bool) -> Iterator[None]:
    """Set the fast kernels of this process, and set back what was there, torch's generators included.

    `deterministic` kernels give the same bits each time; without, cuDNN picks its own by a race.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, torch.get_float32_matmul_precision()
    cudnn.benchmark, cudnn.deterministic = not deterministic, deterministic
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


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Move a CPU tensor to `device`, without waiting where that is a CUDA device."""
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def part_of(batch: int, fabric: Fabric) -> slice:
    """Return the rows of a batch that this process works on; the batch divides evenly."""
    share = batch // fabric.world_size
    return slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)


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
