"""What a network is, in one number: equal only where its code, structure, weights and contract are equal."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor, nn

from edgegan.compress.own_numbers import changed_numbers
from edgegan.compress.stage import Candidate
from edgegan.files import sha256
from edgegan.runtime.contract import Contract


def of_candidate(candidate: Candidate) -> str:
    """Return a hash of all that later stages can see of `candidate`: modules, contract, files, lineage."""
    modules = (candidate.student, candidate.teacher, candidate.discriminator)
    parts = ["" if module is None else of_module(module) for module in modules]
    files = {key: sha256(path) for key, path in candidate.files.items()}
    records = [[record.stage, record.settings] for record in candidate.lineage]
    content = [parts, of_contract(candidate.contract), files, records]
    return _hash([json.dumps(content, sort_keys=True).encode()])


def of_contract(contract: Contract) -> str:
    """Return a hash of `contract` and of the stored inputs that it draws from."""
    stored = {name: sha256(path) for name, path in contract.stored.items()}
    return _hash([json.dumps([contract.to_dict(), stored], sort_keys=True).encode()])


def of_module(module: nn.Module) -> str:
    """Return a hash of `module`: its layers' code and settings, its parameters, and its buffers."""
    kinds = {type(layer) for layer in module.modules()}
    sources = sorted(f"{kind.__module__}.{kind.__qualname__}\n{_source(kind)}" for kind in kinds)
    layers = [f"{name}: {type(layer).__qualname__}({layer.extra_repr()})" for name, layer in _layers(module)]
    numbers = [f"{name}: {_plain(layer) | changed_numbers(layer)}" for name, layer in _layers(module)]
    text = (line.encode() for line in (*sources, *layers, *numbers))
    held = (module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))
    tensors = (part for named in held for name, tensor in named for part in _bytes(name, tensor))
    return _hash(chain(text, tensors))


def _layers(module: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    return module.named_modules(remove_duplicate=False)


def _plain(layer: nn.Module) -> dict[str, object]:
    """Return what else decides on a layer's outputs: its own numbers, texts and sizes."""
    return {
        key: value
        for key, value in sorted(vars(layer).items())
        if not key.startswith("_") and key != "training" and _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str, torch.dtype))


def _source(kind: type[nn.Module]) -> str:
    if kind.__module__.startswith("torch."):
        return torch.__version__
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def _bytes(name: str, tensor: Tensor) -> tuple[bytes, bytes]:
    held = tensor.detach().cpu().contiguous()
    numbers = held.reshape(-1).view(torch.uint8).numpy().tobytes()
    return f"{name} {held.dtype} {tuple(held.shape)}".encode(), numbers


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()
