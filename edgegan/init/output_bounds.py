"""Between which values a module's results lie, as far as its last operations say so."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

Range = tuple[float, float]

RESULTS: dict[str, Range] = {
    **dict.fromkeys(("tanh", "erf", "sin", "cos"), (-1.0, 1.0)),
    **dict.fromkeys(("sigmoid", "hardsigmoid", "_softmax"), (0.0, 1.0)),
    **dict.fromkeys(("exp", "softplus", "abs"), (0.0, math.inf)),
}
"""Operations whose results lie in one range, whatever they are given."""
KEEP = re.compile(
    r"_?(unsafe_)?(view|reshape(_alias)?)|permute|transpose|t|slice|select|(un)?squeeze|expand|repeat|clone|contiguous|"
    r"alias|detach|_to_copy|lift_fresh|unbind|split(_with_sizes)?|index(_select)?|gather|flip|roll|"
    r"(pixel|channel)_(un)?shuffle|(reflection|replication)_pad\dd|mean|amax|amin|unfold|"
    r"_?(upsample_(nearest|linear|bi|tri)(?!cubic)|adaptive_avg|avg_pool|max_pool).*"
)
"""Operations that take values from their first argument, or averages of them."""


class Bounds(TorchDispatchMode):
    """Follows, while it is on, the range that each tensor's operation gives it.

    Parameters and buffers of `module` lie between their least and their greatest value.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._ranges = WeakIdKeyDictionary()
        for held in (*module.parameters(), *module.buffers()):
            if held.numel() and held.is_floating_point():
                low, high = held.detach().aminmax()
                self._ranges[held] = (float(low), float(high))

    def of(self, value: Any) -> Range | None:
        """Return the range of a tensor; None where nothing is known of it, or on one side only."""
        found = self._ranges.get(value) if isinstance(value, Tensor) else None
        return found if found is not None and all(map(math.isfinite, found)) else None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do the operation, and note the range of its results."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        found = self._range(func._schema.name.removeprefix("aten::").removesuffix("_"), args, kwargs)
        for part in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(part, Tensor):
                if found is None:
                    self._ranges.pop(part, None)
                else:
                    self._ranges[part] = found
        return result

    def _range(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Range | None:
        if name in RESULTS:
            return RESULTS[name]
        if name in ("cat", "stack"):
            return _union([self._known(part) for part in args[0]])
        if name in ("relu", "clamp", "hardtanh", "clamp_min", "clamp_max"):
            return self._clamped(name, args, kwargs)
        if name in ("add", "sub", "rsub", "mul", "div", "neg") and len(args) <= 2:
            return self._computed(name, args, kwargs)
        if KEEP.fullmatch(name) and args:
            return self._known(args[0])
        return None

    def _known(self, value: Any) -> Range | None:
        if isinstance(value, Tensor):
            return self._ranges.get(value)
        return (float(value), float(value)) if isinstance(value, (int, float)) else None

    def _clamped(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Range | None:
        low, high = self._known(args[0]) or (-math.inf, math.inf)
        limits = {"relu": (0.0, None), "hardtanh": (-1.0, 1.0)}.get(name, (None, None))
        given = (*args[1:], *(None,) * 2)[:2]
        if name == "clamp_max":
            given = (None, given[0])
        least = kwargs.get("min", kwargs.get("min_val", given[0]))
        most = kwargs.get("max", kwargs.get("max_val", given[1]))
        least, most = (limits[0] if least is None else least), (limits[1] if most is None else most)
        if isinstance(least, Tensor) or isinstance(most, Tensor):
            return None
        least, most = (-math.inf if least is None else least), (math.inf if most is None else most)
        return min(max(low, least), most), max(min(high, most), least)

    def _computed(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Range | None:
        known = [self._known(arg) for arg in args]
        if any(one is None for one in known) or kwargs.get("alpha", 1) != 1 or kwargs.get("rounding_mode"):
            return None
        first = known[0] or (0.0, 0.0)
        if name == "neg":
            return -first[1], -first[0]
        second = known[1] or (0.0, 0.0)
        if name == "rsub":
            first, second = second, first
        if name in ("sub", "rsub"):
            second = (-second[1], -second[0])
        if name in ("add", "sub", "rsub"):
            return first[0] + second[0], first[1] + second[1]
        operation: Callable[[float, float], float] = (
            (lambda a, b: a * b) if name == "mul" else (lambda a, b: a / b)
        )
        if name == "div" and second[0] <= 0 <= second[1]:
            return None
        ends = [operation(a, b) for a in first for b in second]
        return None if any(map(math.isnan, ends)) else (min(ends), max(ends))


def _union(ranges: Sequence[Range | None]) -> Range | None:
    known = [one for one in ranges if one is not None]
    if not known or len(known) < len(ranges):
        return None
    return min(low for low, _ in known), max(high for _, high in known)
