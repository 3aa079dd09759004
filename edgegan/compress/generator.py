"""A recipe's generator, in the form that all stages know: plain weights, float32, tensors in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MethodType
from typing import Any, Literal
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from edgegan.compress import noise
from edgegan.compress.calling import in_a_row, keywords, row_signature, split
from edgegan.compress.leaves import at, chosen, is_plain
from edgegan.compress.lint.finding import Finding, Level, together
from edgegan.compress.lint.watch import HALF, Watch
from edgegan.compress.load import load_module
from edgegan.compress.parametrization import parametrized, remove_parametrizations
from edgegan.compress.plain_attention import make_attention_plain
from edgegan.compress.plain_layers import make_layers_plain
from edgegan.recipe import ModelSpec
from edgegan.runtime.contract import Contract


def load_generator(spec: ModelSpec, contract: Contract, folder: Path) -> tuple[nn.Module, list[Finding]]:
    """Load the module of `spec`, and bring it into the form that stages know; return what that took.

    Spectral and weight norm are fixed at their values, as are weights that layers compute from constants at
    every run; layers and casts in float16 become float32; of nested outputs those of the contract are taken.
    A module that does not run is left to lint.

    Raises:
        ModelError: see `load_module`; or an output of the contract is not among what the module returns.
        CheckpointError: see `load_module`.
    """
    told: list[str] = []
    module = load_module(spec, folder, told.append)
    again = "nothing, if that is what you mean"
    said = [Finding("warning", "", "the checkpoint", text, again) for text in told]
    return module, [*said, *prepare(module, contract, spec.outputs, spec.call, spec.noise)]


def prepare(
    module: nn.Module,
    contract: Contract,
    outputs: Mapping[str, str],
    call: Mapping[str, Any] | None = None,
    drawn: Literal["fixed", "mean"] | tuple[str, ...] | None = None,
) -> list[Finding]:
    """Bring `module`, in eval mode, frozen, into the form that stages know, in place; return what that took.

    Args:
        module: see `load_generator`.
        contract: what it takes and gives.
        outputs: the contract's outputs to their paths in what the module returns, where they are named.
        call: values of its forward's arguments beside the inputs.
        drawn: what it gets in place of random numbers that its forward draws; names are inputs'.

    Raises:
        ModelError: an output of the contract is not among what the module returns, or the inputs named are
            not what it draws.
    """
    said: list[Finding] = []
    names = [spec.name for spec in contract.inputs]

    def say(what: str, why: str, layer: str = "", level: Level = "warning") -> None:
        said.append(Finding(level, layer, what, why, "nothing, if that is what you mean"))

    if layers := parametrized(module):
        what = "spectral or weight norm was left on"
        say(what, "it is of use in training only, and was fixed at its value", together(layers), "info")
        remove_parametrizations(module)
        module.requires_grad_(False)
    form = _with_noise(Form(call=call or {}), drawn, module, contract)
    adapt(module, form, names)
    result, halves = _run(module, contract)
    if halves:
        module._apply(lambda held: held.float() if held.dtype in HALF else held)
        adapt(module, replace(form, single=True), names)
        again, left = _run(module, contract)
        if left or again is None:
            adapt(module, form, names)
        else:
            result, form = again, replace(form, single=True)
            say("float16 inside", "it is computed in float32, as are the casts to it", together(halves))
    if result is None:
        return said
    if outputs or not is_plain(result, contract):
        paths = chosen(result, contract, outputs or {})
        adapt(module, replace(form, paths=paths), names)
        taken = [f"{spec.name} from {'.'.join(path)}" for spec, path in zip(contract.outputs, paths)]
        say("the model returns more than tensors in a row", f"taken are: {', '.join(taken)}")
    if layers := make_layers_plain(module, contract):
        what = "layers of its own that compute their weights at every run"
        say(what, "no input has a say in them, so they were made plain layers", together(layers), "info")
    if layers := make_attention_plain(module, contract):
        what = "attention whose projections lie in one weight"
        say(what, "each became a linear layer, which stages can change", together(layers), "info")
    return said


@dataclass(frozen=True)
class Form:
    """How a module's forward is called, and what is taken of its result."""

    call: Mapping[str, Any] = field(default_factory=dict)
    """Arguments beside the inputs."""
    single: bool = False
    """Whether what it casts to less than float32, or runs under autocast, stays in float32."""
    noise: Literal["fixed", "mean"] | tuple[int, ...] | None = None
    """What it gets in place of random numbers: its own buffers, the mean, or the inputs at these places."""
    paths: Sequence[tuple[str, ...]] | None = None
    """Where the outputs lie in what it returns; None where that is the outputs alone."""


def adapt(module: nn.Module, form: Form, names: Sequence[str]) -> None:
    """Let `module` be called with inputs of these names, and return its outputs, as `form` says.

    Its class, its layers and their names stay as they are, and copies of it are adapted too.
    """
    vars(module).pop("forward", None)
    if form == Form():
        in_a_row(module, names)
        return
    written = type(module).forward
    drawn = form.noise if isinstance(form.noise, tuple) else ()
    others = [name for index, name in enumerate(names) if index not in drawn]
    by = keywords(MethodType(written, module), others, form.call)

    def forward(self: nn.Module, *given: Any) -> Any:
        others, named = split([value for index, value in enumerate(given) if index not in drawn], by)
        with ExitStack() as modes:
            if form.single:
                modes.enter_context(_Single())
                modes.enter_context(patch.object(torch.autocast, "__enter__", lambda region: region))
                modes.enter_context(patch.object(torch.autocast, "__exit__", lambda *_: None))
            if form.noise == "mean":
                modes.enter_context(noise.at_mean())
            elif form.noise == "fixed":
                modes.enter_context(noise.given(noise.fixed(self)))
            elif drawn:
                modes.enter_context(noise.given([given[index] for index in drawn]))
            result = type(self).forward(self, *others, **named, **form.call)
        if form.paths is None:
            return result
        picked = [at(result, path) for path in form.paths]
        return picked[0] if len(picked) == 1 else tuple(picked)

    row = [f"input_{index}" for index in range(len(names))]
    forward.__signature__ = row_signature(row)  # pyright: ignore[reportFunctionMemberAccess]
    module.forward = MethodType(forward, module)


def _with_noise(
    form: Form,
    named: Literal["fixed", "mean"] | tuple[str, ...] | None,
    module: nn.Module,
    contract: Contract,
) -> Form:
    """Return `form` with what the recipe puts in the place of random numbers: buffers, the mean, or inputs.

    Raises:
        ModelError: the inputs that the recipe names are not what the module draws.
    """
    names = [port.name for port in contract.inputs]
    adapt(module, form, names)
    if named == "fixed":
        noise.fix(module, contract)
    if not isinstance(named, tuple):
        return replace(form, noise=named)
    others = tuple(port for port in contract.inputs if port.name not in named)
    noise.check_named(noise.draws(module, replace(contract, inputs=others)), named, contract)
    return replace(form, noise=tuple(names.index(name) for name in named))


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
