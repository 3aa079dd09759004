"""A training run's state as one safetensors file: modules, optimizers and the step. No pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from edgegan.files import write_bytes

Holder = nn.Module | Optimizer


def save_state(path: Path, holders: Mapping[str, Holder], step: int) -> None:
    """Write the state of `holders` after `step` steps, atomically.

    Raises:
        StorageError: the file cannot be written.
    """
    tensors = {
        f"{name}/{key}": value.detach().cpu().contiguous().clone()
        for name, holder in holders.items()
        for key, value in _tensors(holder).items()
    }
    write_bytes(path, save(tensors, metadata={"step": json.dumps(step)}))


def load_state(path: Path, holders: Mapping[str, Holder]) -> int:
    """Put the state that `save_state` wrote back into `holders`; return the number of steps done."""
    with safe_open(path, "pt") as file:
        step = json.loads((file.metadata() or {})["step"])
        tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for name, holder in holders.items():
        prefix = f"{name}/"
        own = {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
        if isinstance(holder, nn.Module):
            holder.load_state_dict(own)
        else:
            _load_optimizer(holder, own)
    return step


def _tensors(holder: Holder) -> dict[str, Tensor]:
    if isinstance(holder, nn.Module):
        return holder.state_dict()
    return {
        f"{index}.{key}": torch.as_tensor(value)
        for index, state in holder.state_dict()["state"].items()
        for key, value in state.items()
    }


def _load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        parameter = parameters[int(index)]
        in_layout = value.shape == parameter.shape and value.ndim > 0
        # Fused optimizers refuse moments whose memory layout is not their parameter's.
        state.setdefault(int(index), {})[name] = (
            torch.empty_like(parameter).copy_(value) if in_layout else value
        )
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
