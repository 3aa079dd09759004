"""A recipe's generator, in the form that all stages know: plain weights, float32, tensors in a row."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from edgegan.compress.leaves import at, chosen, is_plain
from edgegan.compress.lint.finding import Finding, Level, together
from edgegan.compress.lint.watch import HALF, Watch
from edgegan.compress.load import load_module
from edgegan.compress.structure import parametrized, remove_parametrizations
from edgegan.recipe import ModelSpec
from edgegan.runtime.contract import Contract


def load_generator(spec: ModelSpec, contract: Contract, folder: Path) -> tuple[nn.Module, list[Finding]]:
    """Load the module of `spec`, and bring it into the form that stages know; return what that took.

    Spectral and weight norm are fixed at their values; layers and casts in float16 become float32; of nested
    outputs those of the contract are taken. A module that does not run is left to lint.

    Raises:
        ModelError: see `load_module`; or an output of the contract is not among what the module returns.
        CheckpointError: see `load_module`.
    """
    told: list[str] = []
    module = load_module(spec, folder, told.append)
    again = "nothing, if that is what you mean"
    said = [Finding("warning", "", "the checkpoint", text, again) for text in told]
    return module, [*said, *prepare(module, contract, spec.outputs)]


def prepare(module: nn.Module, contract: Contract, outputs: Mapping[str, str]) -> list[Finding]:
    """Bring `module`, in eval mode, frozen, into the form that stages know, in place; return what that took.

    Args:
        module: see `load_generator`.
        contract: what it takes and gives.
        outputs: the contract's outputs to their paths in what the module returns, where they are named.

    Raises:
        ModelError: an output of the contract is not among what the module returns.
    """
    said: list[Finding] = []

    def say(what: str, why: str, layer: str = "", level: Level = "warning") -> None:
        said.append(Finding(level, layer, what, why, "nothing, if that is what you mean"))

    if names := parametrized(module):
        what = "spectral or weight norm was left on"
        say(what, "it is of use in training only, and was fixed at its value", together(names), "info")
        remove_parametrizations(module)
        module.requires_grad_(False)
    result, halves = _run(module, contract)
    if halves:
        module._apply(lambda held: held.float() if held.dtype in HALF else held)
        adapt(module, single=True)
        again, left = _run(module, contract)
        if left or again is None:
            del module.forward
        else:
            result = again
            say("float16 inside", "it is computed in float32, as are the casts to it", together(halves))
    if result is None or (is_plain(result, contract) and not outputs):
        return said
    paths = chosen(result, contract, outputs)
    adapt(module, single="forward" in vars(module), paths=paths)
    taken = [f"{spec.name} from {'.'.join(path)}" for spec, path in zip(contract.outputs, paths)]
    say("the model returns more than tensors in a row", f"taken are: {', '.join(taken)}")
    return said


def adapt(module: nn.Module, *, single: bool = False, paths: Sequence[tuple[str, ...]] | None = None) -> None:
    """Let `module` compute in float32 where it casts to less, and return what lies at `paths` alone.

    Its class, its layers and their names stay as they are, and copies of it are adapted too.
    """
    written = type(module).forward

    @functools.wraps(written)
    def forward(self: nn.Module, *inputs: Any) -> Any:
        if single:
            with _Single():
                result = written(self, *inputs)
        else:
            result = written(self, *inputs)
        if paths is None:
            return result
        picked = [at(result, path) for path in paths]
        return picked[0] if len(picked) == 1 else tuple(picked)

    module.forward = MethodType(forward, module)


class _Single(TorchFunctionMode):
    """Casts to float32 what is cast to less."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.half, Tensor.bfloat16):
            return args[0].float()
        args, kwargs = tree_map(_single, (args, kwargs or {}))
        return func(*args, **kwargs)


def _single(value: Any) -> Any:
    return torch.float32 if isinstance(value, torch.dtype) and value in HALF else value


def _run(module: nn.Module, contract: Contract) -> tuple[Any, list[str]]:
    """Return what one sample gives, and the layers that compute in less than float32 or hold it.

    None where it does not run, which lint tells.
    """
    watch, result = Watch(), None
    with suppress(Exception), torch.random.fork_rng(devices=[]):
        result = watch.run(module, contract)
    tensors = [
        (name, held) for named in (module.named_parameters(), module.named_buffers()) for name, held in named
    ]
    holding = [name.rpartition(".")[0] for name, held in tensors if held.dtype in HALF]
    return result, list(dict.fromkeys([*holding, *watch.halves]))
