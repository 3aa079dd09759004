"""Random numbers that a network draws inside its forward, as noise or dropout, and what takes their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from edgegan.compress.example_inputs import example
from edgegan.errors import ModelError, some
from edgegan.runtime.contract import Contract

Kind = Literal["normal", "uniform"]
BUFFER = "fixed_noise_{}"
SEED = 0x201E
DRAWS: dict[Any, Kind] = {
    torch.randn: "normal",
    torch.randn_like: "normal",
    torch.normal: "normal",
    Tensor.normal_: "normal",
    torch.rand: "uniform",
    torch.rand_like: "uniform",
    Tensor.uniform_: "uniform",
    Tensor.exponential_: "uniform",
    Tensor.bernoulli_: "uniform",
    torch.bernoulli: "uniform",
}
FACTORIES = (torch.randn, torch.rand)
DROPOUTS = (F.dropout, torch.dropout)
SMALLEST = 1e-12
"""What uniform numbers are held above, where their logarithm is taken."""
MAPS = (F.dropout1d, F.dropout2d, F.dropout3d, torch.feature_dropout)
"""Dropouts of whole channels."""


@dataclass(frozen=True)
class Draw:
    """One draw of a forward: how, and of which shape."""

    kind: Kind
    shape: tuple[int, ...]


class _Drawing(TorchFunctionMode):
    """Gives what `number` returns for each draw, (kind, shape) -> values of that shape."""

    def __init__(self, number: Callable[[Kind, tuple[Any, ...]], Tensor]) -> None:
        super().__init__()
        self.number = number

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in DROPOUTS or func in MAPS:
            return self._dropout(func, *args, **kwargs)
        if func is F.gumbel_softmax:
            return self._gumbel_softmax(*args, **kwargs)
        if func not in DRAWS:
            return func(*args, **kwargs)
        if func is torch.normal:
            return self._normal(*args, **kwargs)
        if func in FACTORIES:
            size = kwargs.get("size", args[0] if args and isinstance(args[0], (tuple, list)) else args)
            return self.number(DRAWS[func], tuple(size)).to(kwargs.get("dtype") or torch.get_default_dtype())
        drawn = self.number(DRAWS[func], tuple(args[0].shape)).to(args[0].dtype)
        if func is Tensor.normal_:
            mean, std = _pair(("mean", 0.0), ("std", 1.0), args[1:], kwargs)
            return args[0].copy_(drawn * std + mean)
        if func is Tensor.uniform_:
            low, high = _pair(("from", 0.0), ("to", 1.0), args[1:], kwargs)
            return args[0].copy_(drawn * (high - low) + low)
        if func is Tensor.exponential_:
            (rate,) = (kwargs.get("lambd", 1.0),) if len(args) < 2 else args[1:2]
            return args[0].copy_(-drawn.clamp(min=SMALLEST).log() / rate)
        if func is torch.bernoulli:
            return (drawn < (args[1] if len(args) > 1 else kwargs.get("p", args[0]))).to(args[0].dtype)
        if func is Tensor.bernoulli_:
            return args[0].copy_(drawn < (args[1] if len(args) > 1 else kwargs.get("p", 0.5)))
        return drawn

    def _gumbel_softmax(
        self, logits: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1
    ) -> Tensor:
        """Do what torch does (Jang et al. 2017): it looks into none of its own functions for a mode."""
        drawn = self.number("uniform", tuple(logits.shape)).to(logits.dtype).clamp(min=SMALLEST)
        soft = ((logits - (-drawn.log()).log()) / tau).softmax(dim)
        if not hard:
            return soft
        one = torch.zeros_like(soft).scatter(dim, soft.argmax(dim, keepdim=True), 1.0)
        return one - soft.detach() + soft

    def _dropout(
        self, func: Any, x: Tensor, p: float = 0.5, training: bool = True, *_: Any, **__: Any
    ) -> Any:
        if not training or p == 0:
            return x
        shape = tuple(x.shape) if func in DROPOUTS else (*x.shape[:2], *(1 for _ in x.shape[2:]))
        return x * (self.number("uniform", shape) >= p).to(x.dtype) / (1 - p)

    def _normal(self, mean: Any, std: Any = 1.0, size: Any = None, **_: Any) -> Tensor:
        given = next((value for value in (mean, std) if isinstance(value, Tensor)), None)
        shape = tuple(size) if given is None else tuple(given.shape)
        return self.number("normal", shape) * std + mean


def _pair(first: tuple[str, Any], second: tuple[str, Any], args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Return two arguments by position, by name, or by default."""
    values = {**dict((first, second)), **dict(zip((first[0], second[0]), args)), **kwargs}
    return values[first[0]], values[second[0]]


def draws(module: nn.Module, contract: Contract, batch: int = 1) -> list[Draw]:
    """Return what one run of `module` draws, in order; the batch axis of each shape is `batch`.

    Raises:
        ModelError: it does not run.
    """
    found: list[Draw] = []

    def number(kind: Kind, shape: tuple[int, ...]) -> Tensor:
        found.append(Draw(kind, shape))
        return torch.zeros(shape)

    try:
        with torch.no_grad(), _Drawing(number):
            module(*example(contract, batch, 0))
    except Exception as error:
        raise ModelError(
            f"the model does not run on the contract's inputs: {type(error).__name__}: {error}",
            where="model: noise",
            next="correct the contract's inputs; those that stand for noise are not given to forward",
        ) from error
    return found


def given(values: Sequence[Tensor]) -> TorchFunctionMode:
    """Return a mode in which draw number i gives `values[i]`, with as many rows as are asked for."""
    left = iter(values)
    return _Drawing(lambda kind, shape: next(left).expand(shape))


def at_mean() -> TorchFunctionMode:
    """Return a mode in which each draw gives its mean; dropout, drawn so, leaves all as it is."""
    return _Mean(lambda kind, shape: torch.full(shape, 0.0 if kind == "normal" else 0.5))


class _Mean(_Drawing):
    def _dropout(self, func: Any, x: Tensor, *_: Any, **__: Any) -> Any:
        return x


def fix(module: nn.Module, contract: Contract) -> list[str]:
    """Draw once what `module` draws at each run, into buffers of its own; return their names."""
    generator = torch.Generator().manual_seed(SEED)
    names = []
    for index, (one, other) in enumerate(zip(draws(module, contract, 1), draws(module, contract, 2))):
        sample = torch.randn if one.kind == "normal" else torch.rand
        names.append(BUFFER.format(index))
        shape = other.shape if one.shape == other.shape else one.shape
        module.register_buffer(names[-1], sample(shape, generator=generator))
    return names


def fixed(module: nn.Module) -> list[Tensor]:
    """Return what `fix` drew."""
    start = BUFFER.format("")
    return [value for name, value in module.named_buffers(recurse=False) if name.startswith(start)]


def check_named(found: Sequence[Draw], names: Sequence[str], contract: Contract) -> None:
    """Raise `ModelError` where the inputs called `names` are not what is drawn; what is, is told."""
    shapes = {spec.name: spec.shape for spec in contract.inputs}
    if [shapes.get(name) for name in names] == [draw.shape[1:] for draw in found]:
        return
    lines = [
        f"{{name: noise_{index}, shape: {list(draw.shape[1:])}"
        + (", sample: {kind: uniform, low: 0, high: 1}}" if draw.kind == "uniform" else "}")
        for index, draw in enumerate(found)
    ]
    raise ModelError(
        f"the model draws {len(found)} times in its forward, other than the inputs {some(list(names))}",
        where="model: noise",
        next=f"name as many inputs of the contract, in this order: {some(lines)}",
    )
