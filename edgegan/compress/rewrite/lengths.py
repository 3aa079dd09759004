"""Free sizes in `len`, `int` and `torch.istft`, which alone would turn them into fixed numbers."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch
from torch import SymFloat, SymInt, Tensor, nn
from torch.nn import functional as F

Quotient = tuple[Any, Any]
"""Two whole numbers, one of which or both may be free."""


@contextmanager
def free_lengths(module: nn.Module) -> Iterator[None]:
    """Let `len(x)` be `x.shape[0]` in the code of a network's own layers, as long as it is traced.

    The length that an inverse short-time Fourier transform is asked for may be free as well.
    """
    with _instead(module, "len", _length), patch.object(torch, "istft", _cut(torch.istft)):
        yield


@contextmanager
def free_whole_numbers(module: nn.Module) -> Iterator[None]:
    """Let `int(a / b)` be `a // b` in the code of a network's own layers, as long as it is traced.

    Layers of windows find the size of the batch so (Liu et al. 2021, arXiv:2103.14030).
    """
    quotients: dict[int, tuple[SymFloat, Quotient]] = {}

    def ratio(value: Any) -> Quotient | None:
        if isinstance(value, SymFloat):
            return quotients[id(value)][1] if id(value) in quotients else None
        return value.as_integer_ratio() if isinstance(value, float) else (value, 1)

    def remembering(divide: Callable[..., Any], turned: bool) -> Callable[..., Any]:
        @wraps(divide)
        def divided(one: Any, other: Any) -> Any:
            result = divide(one, other)
            pair = [ratio(value) for value in ((other, one) if turned else (one, other))]
            if isinstance(result, SymFloat) and None not in pair:
                (a, b), (c, d) = pair  # pyright: ignore[reportGeneralTypeIssues]
                quotients[id(result)] = result, (a * d, b * c)
            return result

        return divided

    class Whole(type):
        """The type of what stands for `int`: it is asked for numbers, and for their type."""

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, int)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, int)

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            value = args[0] if args else 0
            if isinstance(value, SymFloat) and id(value) in quotients:
                above, below = quotients[id(value)][1]
                return above // below
            return value if isinstance(value, SymInt) else int(*args, **kwargs)

    with ExitStack() as stack:
        for kind in (SymInt, SymFloat):
            for name, turned in (("__truediv__", False), ("__rtruediv__", True)):
                patched = remembering(getattr(kind, name), turned)
                stack.enter_context(patch.object(kind, name, patched))
        stack.enter_context(_instead(module, "int", Whole("int", (int,), {})))
        yield


@contextmanager
def _instead(module: nn.Module, name: str, by: Any) -> Iterator[None]:
    """Let `name` be another thing in the code of a network's own layers."""
    ours = [scope for scope in _scopes(module) if name not in scope]
    for scope in ours:
        scope[name] = by
    try:
        yield
    finally:
        for scope in ours:
            del scope[name]


def _scopes(module: nn.Module) -> list[dict[str, Any]]:
    """Return the names that the code of a network's own layers sees, for each of its files."""
    kinds = {base for layer in module.modules() for base in type(layer).__mro__}
    ours = [kind for kind in kinds if not kind.__module__.startswith("torch.")]
    found = [getattr(function, "__globals__", None) for kind in ours for function in vars(kind).values()]
    return list({id(scope): scope for scope in found if isinstance(scope, dict)}.values())


def _cut(istft: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let a free length be cut from what there is without, where it is a number of whole steps."""

    def cut(input: Tensor, n_fft: int, *args: Any, **kwargs: Any) -> Tensor:
        names = ("hop_length", "win_length", "window", "center", "normalized", "onesided", "length")
        given = {**dict(zip((*names, "return_complex"), args)), **kwargs}
        length = given.pop("length", None)
        if not isinstance(length, SymInt):
            return istft(input, n_fft, **given, length=length)
        return F.pad(istft(input, n_fft, **given), (0, n_fft))[..., :length]

    return cut


def _length(of: Any) -> Any:
    return of.shape[0] if isinstance(of, Tensor) and of.dim() else builtins.len(of)
