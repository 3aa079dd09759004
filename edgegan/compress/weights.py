"""A module's weights in a checkpoint: under which entry and prefix they lie, and in which form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from edgegan.compress.parametrization import parametrized, plain_copy, remove_parametrizations

Weights = dict[str, Tensor]
DEEPEST = 4
"""How deep entries are looked for in a checkpoint of a whole training."""
AVERAGED = re.compile(r"ema|avg|averag|shadow|swa(?![a-z])")
IN_ORDER = "its names are not the module's: the weights were taken in order, by their kinds and shapes"
FORMS = (
    (r"(.*?)parametrizations\.(\w+)\.original1", ("original0",), "weight norm"),
    (r"(.*?)parametrizations\.(\w+)\.original", ("0._u", "0._v"), "spectral norm"),
    (r"(.*?)(\w+)_orig", ("_u", "_v"), "spectral norm"),
    (r"(.*?)(\w+)_v", ("_g",), "weight norm"),
)


@dataclass(frozen=True)
class Found:
    """Weights that fit the module, once `plain` was made of it where that is set; and what was done."""

    weights: Weights
    entry: str
    prefix: str
    plain: bool
    said: tuple[str, ...]


def find(content: object, module: nn.Module, *, prefix: str = "", exact: bool = False) -> list[Found]:
    """Return each way in which the checkpoint's `content` fits `module`; the best first.

    Looked at are all its entries, and every prefix of their names, unless it is `exact`: then `content` is
    the entry, and `prefix` its prefix. Of several entries or prefixes, that of averaged weights (EMA) comes
    first. Where none fits by its names, weights of the module's kinds and shapes in the module's order are
    taken.
    """
    named = {key for model in (module, plain_copy(module)) for key in model.state_dict()}
    all_entries = [("", content)] if exact else list(entries(content))
    found, ordered = [], []
    for entry, weights in all_entries:
        if not isinstance(weights, Mapping):
            continue
        there = {prefix} if exact else prefixes_of(list(weights), named)
        for each in sorted(there, key=lambda one: (not is_average(one), len(one))):
            own = {name[len(each) :]: value for name, value in weights.items() if name.startswith(each)}
            if (fit := fitted(own, module)) is not None:
                found.append(Found(fit.weights, entry, each, fit.plain, fit.said))
                break
            if each == prefix and (renamed := _in_order(own, module)) is not None:
                ordered.append(Found(renamed, entry, each, False, (IN_ORDER,)))
    return sorted(found or ordered, key=lambda one: not is_average(one.entry))


def is_average(entry: str) -> bool:
    """Tell whether the name of an entry, or a prefix, says that it holds averaged weights."""
    return AVERAGED.search(entry.lower()) is not None


def fitted(weights: Weights, module: nn.Module) -> Found | None:
    """Return `weights` in the form that `module`, or a plain copy of it, has; None where they do not fit."""
    if _fits(weights, module):
        return Found(weights, "", "", False, ())
    resolved, kinds = _plain(weights, module)
    if kinds and _fits(resolved, module):
        return Found(resolved, "", "", False, (f"its {' and '.join(kinds)} was resolved into plain weights",))
    if parametrized(module) and _fits(resolved, plain_copy(module)):
        what = "the module's spectral or weight norm was left out, since the checkpoint's weights are plain"
        return Found(resolved, "", "", True, (what,))
    return None


def make_plain(module: nn.Module) -> None:
    """Take spectral and weight norm out of `module`, in place."""
    remove_parametrizations(module)


def entries(content: object, name: str = "", depth: int = 0) -> Iterator[tuple[str, Weights]]:
    """Yield each mapping in a checkpoint that holds tensors, by its keys joined with dots."""
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield name, tensors
    for key, value in content.items():
        yield from entries(value, f"{name}.{key}" if name else str(key), depth + 1)


def prefixes_of(names: Sequence[str], named: set[str]) -> set[str]:
    """Return what stands before the module's names: before one that is there, in any of its forms."""
    wanted = {re.sub(r"_orig$|_[gvu]$|parametrizations\.(\w+)\.original1?$", r"\1", name) for name in named}
    found = {""}
    for name in names:
        plain = re.sub(r"_orig$|_[gv]$", "", re.sub(r"parametrizations\.(\w+)\.original[01]?$", r"\1", name))
        parts = plain.split(".")
        for count in range(1, min(len(parts), 6)):
            if ".".join(parts[count:]) in wanted:
                found.add(".".join(parts[:count]) + ".")
    return found


def _fits(weights: Weights, module: nn.Module) -> bool:
    expected = module.state_dict()
    missing = [key for key in expected if key not in weights and not key.endswith("num_batches_tracked")]
    same = all(key in expected and expected[key].shape == value.shape for key, value in weights.items())
    return not missing and same


def _in_order(weights: Weights, module: nn.Module) -> Weights | None:
    """Return `weights` under the module's names, where both have the same kinds and shapes in one order."""
    wanted = [item for item in module.state_dict().items() if not item[0].endswith("num_batches_tracked")]
    given = [item for item in weights.items() if not item[0].endswith("num_batches_tracked")]
    if len(wanted) != len(given) or parametrized(module):
        return None
    same = all(
        name.rpartition(".")[2] == other.rpartition(".")[2] and value.shape == tensor.shape
        for (name, value), (other, tensor) in zip(wanted, given)
    )
    return {name: value for (name, _), (_, value) in zip(wanted, given)} if same else None


def _plain(weights: Weights, module: nn.Module) -> tuple[Weights, list[str]]:
    """Return `weights` with each norm computed, and which kinds there were."""
    left, kinds = dict(weights), []
    for name in weights:
        for pattern, others, kind in FORMS:
            match = re.fullmatch(pattern, name)
            if match is None:
                continue
            layer, tensor = match.group(1), match.group(2)
            new = "parametrizations" in name
            start = f"{layer}parametrizations.{tensor}." if new else f"{layer}{tensor}"
            beside = [left.get(start + other) for other in others]
            if any(value is None for value in beside):
                continue
            given = [value for value in beside if value is not None]
            if kind == "weight norm":
                value = _weight_norm(left[name], given[0])
            else:
                value = _spectral_norm(left[name], given[0], given[1], _axis(module, layer.removesuffix(".")))
            if value is None:
                continue
            for key in [key for key in left if key.startswith(start) and key != f"{layer}{tensor}"]:
                if new or key in (name, *(start + end for end in ("_u", "_v", "_g"))):
                    del left[key]
            left[f"{layer}{tensor}"] = value
            kinds.append(kind)
            break
    return left, list(dict.fromkeys(kinds))


def _weight_norm(direction: Tensor, length: Tensor) -> Tensor | None:
    sizes = zip(length.shape, direction.shape)
    if length.ndim not in (0, direction.ndim) or any(mine not in (1, size) for mine, size in sizes):
        return None
    axes = [axis for axis in range(direction.ndim) if length.ndim == 0 or length.shape[axis] == 1]
    return direction * (length / direction.norm(2, axes, keepdim=length.ndim > 0))


def _spectral_norm(weight: Tensor, left: Tensor, right: Tensor, axis: int) -> Tensor | None:
    if weight.ndim < 2 or left.shape != weight.shape[axis : axis + 1] or right.ndim != 1:
        return None
    if len(left) * len(right) != weight.numel():
        return None
    order = [axis, *(other for other in range(weight.ndim) if other != axis)]
    matrix = weight.permute(order).reshape(weight.shape[axis], -1)
    return weight / torch.dot(left, matrix @ right)


def _axis(module: nn.Module, name: str) -> int:
    try:
        return int(isinstance(module.get_submodule(name), _ConvTransposeNd))
    except AttributeError:
        return 0
