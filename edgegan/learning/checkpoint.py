"""What a run that was cut off goes on from: modules, optimizers and the step, as one safetensors file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from edgegan.errors import CheckpointError
from edgegan.files import remove, write_bytes, write_text
from edgegan.reading import Unreadable, check_plain, parse_json, read_text, refusing

SECONDS, STEPS = 20.0, 1000
"""Between two states that are kept, whichever is over first."""
Holder = nn.Module | Optimizer
"""What has a state; optimizers are Adam or SGD."""


def fingerprint(module: nn.Module) -> str:
    """Return the SHA-256 of the names, shapes and bytes of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Checkpoint:
    """The last state, in `<stem>.safetensors`.

    Where there is a `key`, only a state that was kept under it counts.
    `newer` names parts that a state of an earlier version may lack; they are then left as they are.
    """

    def __init__(self, stem: Path, key: str | None = None, newer: Collection[str] = ()) -> None:
        self.state, self._key_file = stem.with_suffix(".safetensors"), stem.with_suffix(".key")
        self._key, self._newer = key, newer
        self._since = time.monotonic()

    def load(self, parts: Mapping[str, Holder]) -> int:
        """Fill `parts` and return the number of steps done, or return 0 where there is nothing to resume.

        Raises:
            CheckpointError: see `load_state`.
        """
        self._since = time.monotonic()
        if not self.state.exists() or self._read_key() != self._key:
            return 0
        return load_state(self.state, parts, self._newer)

    def due(self, step: int) -> bool:
        """Tell whether a state is to be kept after `step` steps, long enough after the last one."""
        return time.monotonic() - self._since >= SECONDS or step % STEPS == 0

    def save(self, parts: Mapping[str, Holder], step: int) -> None:
        """Keep `parts`, after `step` steps, atomically.

        Raises:
            StorageError: the folder cannot be written.
        """
        if self._key is not None and self._read_key() != self._key:
            remove(self.state)
            write_text(self._key_file, self._key)
        save_state(self.state, parts, step)
        self._since = time.monotonic()

    def remove(self) -> None:
        """Delete the files, which a finished run needs no more."""
        remove(self.state)
        remove(self._key_file)

    def _read_key(self) -> str | None:
        try:
            return read_text(self._key_file) if self._key is not None else None
        except Unreadable:
            return None


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


def load_state(path: Path, holders: Mapping[str, Holder], newer: Collection[str] = ()) -> int:
    """Put the state that `save_state` wrote back into `holders`; return the number of steps done.

    Holders that `newer` names may be missing in the file.

    Raises:
        CheckpointError: the file is damaged, or of other modules or optimizers; nothing was changed then.
    """
    next = "delete it, and the training begins anew with the same command"
    with refusing(CheckpointError, "the training state cannot be read", where=str(path), next=next):
        check_plain(path)
        with safe_open(path, "pt") as file:
            step = parse_json((file.metadata() or {})["step"])
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        there = {key.partition("/")[0] for key in tensors}
        holders = {name: holder for name, holder in holders.items() if name in there or name not in newer}
        own = {name: _own(name, holder, tensors) for name, holder in holders.items()}
        if type(step) is not int or not 0 <= step < 2**63:
            raise Unreadable(f"its step is {step!r:.30}")
        if sum(map(len, own.values())) != len(tensors):
            raise Unreadable("it holds tensors that nothing here takes")
    for name, holder in holders.items():
        if isinstance(holder, nn.Module):
            holder.load_state_dict(own[name])
        else:
            _load_optimizer(holder, own[name])
    return step


def _own(name: str, holder: Holder, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of one holder; they are there, of its shapes and types."""
    prefix = f"{name}/"
    own = {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
    expected = holder.state_dict() if isinstance(holder, nn.Module) else _moments(holder, own)
    if own.keys() != expected.keys():
        raise Unreadable(f"{name} has other tensors: {', '.join(sorted(own.keys() ^ expected.keys())[:3])}")
    for key, value in own.items():
        if (value.shape, value.dtype) != (expected[key].shape, expected[key].dtype):
            raise Unreadable(
                f"{name}/{key} is {tuple(value.shape)} {value.dtype}, "
                f"not {tuple(expected[key].shape)} {expected[key].dtype}"
            )
    return own


def _moments(optimizer: Optimizer, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of the form of the optimizer's state, for the parameters updated so far."""
    adam = isinstance(optimizer, torch.optim.Adam)
    moments = ("exp_avg", "exp_avg_sq") if adam else ("momentum_buffer",)
    expected: dict[str, Tensor] = {}
    for index, parameter in enumerate(_parameters(optimizer)):
        if f"{index}.{moments[0]}" in own:
            expected |= {f"{index}.{name}": parameter.detach() for name in moments}
            expected |= {f"{index}.step": torch.zeros(())} if adam else {}
    return expected


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _tensors(holder: Holder) -> dict[str, Tensor]:
    if isinstance(holder, nn.Module):
        return holder.state_dict()
    return {
        f"{index}.{key}": torch.as_tensor(value)
        for index, state in holder.state_dict()["state"].items()
        for key, value in state.items()
    }


def _load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = _parameters(optimizer)
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
