"""A recipe's module, imported, built and given its trained weights."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgegan.compress.checkpoint import WHOLE, read_checkpoint
from edgegan.compress.configuration import configured
from edgegan.compress.structure import not_finite
from edgegan.compress.user_code import find_callable, origin
from edgegan.compress.weights import entries, find, is_average, make_plain
from edgegan.errors import SHOWN, CheckpointError, ModelError, did_you_mean, some
from edgegan.reading import refusing
from edgegan.recipe import ModelSpec


def load_module(spec: ModelSpec, folder: Path, say: Callable[[str], None] = lambda text: None) -> nn.Module:
    """Build the module of `spec` and load its weights; in eval mode, on the CPU, frozen.

    Where the recipe names neither `key` nor `prefix`, they are found. Spectral and weight norm in only one of
    module and checkpoint are resolved.

    Args:
        spec: what to call, its arguments, and the checkpoint.
        folder: what the spec's files are relative to.
        say: told of what was found and resolved.

    Raises:
        ModelError: the module cannot be imported, found, called, or is not an `nn.Module`.
        CheckpointError: the weights are missing, need pickle, do not fit, or are not finite.
    """
    module = build_module(spec, folder)
    file = folder / spec.checkpoint
    _load_weights(module, _chosen(read_checkpoint(file), spec, file, module, say), file)
    return module.eval().requires_grad_(False)


def build_module(spec: ModelSpec, folder: Path) -> nn.Module:
    """Build the module of `spec` without loading its weights: the random ones of its own initialization.

    Raises:
        ModelError: the module cannot be imported, found or called, or is not an `nn.Module`. Only subclasses
            of `nn.Module` and functions of the recipe's own files are ever called.
    """
    make = find_callable(spec, folder)
    try:
        module = make(**configured(make, spec.arguments))
    except Exception as error:
        raise ModelError(
            f"{spec.callable} cannot be called with the recipe's arguments: {error or type(error).__name__}",
            where=origin(error),
            next=f"it takes {_signature(make)}; the recipe gives {spec.arguments}",
        ) from error
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            f"{spec.callable} gave a TorchScript module, which holds compiled code: no stage can change it",
            where=spec.callable,
            next="name the Python class that was scripted; its weights are read from the TorchScript file "
            "too, where that is the checkpoint, without running it",
        )
    if not isinstance(module, nn.Module):
        raise ModelError(f"{spec.callable} gave {type(module).__name__}, not a torch.nn.Module")
    return module.cpu()


def _signature(make: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(make))
    except (TypeError, ValueError):
        return "other arguments"


def _chosen(
    content: Any, spec: ModelSpec, file: Path, module: nn.Module, say: Callable[[str], None]
) -> dict[str, Tensor]:
    """Return the weights for `module`; where these are plain and the module is not, it is made so."""
    if spec.key is None and not spec.prefix:
        found = find(content, module)
    else:
        given = _select(content, spec.model_copy(update={"prefix": ""}), file)
        found = find(given, module, prefix=spec.prefix, exact=True)
    best = [one for one in found if is_average(one.entry)] if len(found) > 1 else found
    if not found:
        return _select(content, spec, file)
    if len(best) != 1:
        raise CheckpointError(
            f"{len(found)} entries of the checkpoint fit the module: {some([one.entry for one in found])}",
            where=str(file),
            next=f"name the one to take in the recipe, as in `key: {found[0].entry}`",
        )
    (one,) = best
    if one.plain:
        make_plain(module)
    if one.entry and one.entry != spec.key:
        say(f"of the checkpoint, the entry {one.entry!r} was taken")
    if one.prefix and one.prefix != spec.prefix:
        say(f"the weights' names begin with {one.prefix!r} in the checkpoint, which was left out")
    for text in one.said:
        say(text)
    return one.weights


def _select(content: Any, spec: ModelSpec, file: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        content = {name: value for name, value in content.items() if isinstance(name, str)}
    if spec.key is not None:
        keys = list(content) if isinstance(content, Mapping) else []
        nested = dict(entries(content))
        if spec.key not in keys and spec.key not in nested:
            raise CheckpointError(
                f"the checkpoint has no entry {spec.key!r}{did_you_mean(spec.key, keys)}",
                where=str(file),
                next=f"its entries are: {some(keys)}",
            )
        content = content[spec.key] if spec.key in keys else nested[spec.key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        holding = (
            [str(k) for k, v in content.items() if isinstance(v, Mapping)]
            if isinstance(content, Mapping)
            else []
        )
        raise CheckpointError(
            "the checkpoint holds more than weights" if holding else "the checkpoint holds no named weights",
            where=str(file),
            next=f"name the entry with the weights in the recipe, as in `key: {holding[0]}`"
            if holding
            else "save the module's state_dict(), as in torch.save(module.state_dict(), FILE)",
        )
    weights = {str(name): value for name, value in content.items()}
    stripped = {n.removeprefix(spec.prefix): v for n, v in weights.items() if n.startswith(spec.prefix)}
    if not stripped:
        raise CheckpointError(
            f"no weight's name begins with the prefix {spec.prefix!r}",
            where=str(file),
            next=f"the names are: {some(list(weights))}",
        )
    return stripped


def _load_weights(module: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    expected = module.state_dict()
    for name, value in weights.items():
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise CheckpointError(
                f"the weight {name!r} is no plain tensor of numbers: {value.layout}, {value.dtype}",
                where=str(file),
                next="save a plain state_dict(), of dense tensors on the CPU",
            )
    counters = {n: v for n, v in expected.items() if n.endswith("num_batches_tracked") and n not in weights}
    try:
        with (
            refusing(CheckpointError, "the weights cannot be loaded", where=str(file), next=WHOLE),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("error")  # as of complex numbers whose imaginary part would be lost
            module.load_state_dict({**weights, **counters})
    except CheckpointError as error:
        misfit = _misfit(expected, weights)
        if not misfit:
            raise
        raise CheckpointError(misfit, where=str(file), next=_remedy(expected, weights)) from error
    if broken := not_finite(module):
        raise CheckpointError(
            f"the weight {broken[0]!r} holds NaN or infinity",
            where=str(file),
            next="take a checkpoint from before training diverged",
        )


def _misfit(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    shapes = [
        f"{name}: the checkpoint has {tuple(weights[name].shape)}, the module {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    missing = [n for n in expected if n not in weights and not n.endswith("num_batches_tracked")]
    extra = [name for name in weights if name not in expected]
    lines = [
        *shapes[:SHOWN],
        *([f"and {len(shapes) - SHOWN} more shapes that differ"] if len(shapes) > SHOWN else []),
        *([f"not in the checkpoint: {some(missing)}"] if missing else []),
        *([f"not in the module: {some(extra)}"] if extra else []),
    ]
    return "the checkpoint does not fit the module:\n  " + "\n  ".join(lines) if lines else ""


def _remedy(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    wanted = next(iter(expected), "")
    prefixes = {name.removesuffix(wanted) for name in weights if wanted and name.endswith("." + wanted)}
    if len(prefixes) == 1:
        return f"the weights' names begin with a prefix: put `prefix: {prefixes.pop()!r}` in the recipe"
    return (
        "correct `arguments`, `key` or `prefix` in the recipe, so that the module is the one that was trained"
    )
