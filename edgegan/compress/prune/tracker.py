"""Labels of every tensor of a run (see `couplings`), carried from operator to operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from edgegan.compress.prune.couplings import Couplings, Labels, stay

Axes = list[Labels]
"""The labels of each axis of a tensor."""
Rule = Callable[["Tracker", "Call"], "list[Axes] | None"]
"""Returns the labels of the outputs, in their order; None where the operator is not what the rule is for."""
FACTORIES = ("new_", "empty", "zeros", "ones", "full", "rand", "arange", "scalar_tensor", "linspace", "eye")
SUMS = ("sum", "mean", "linalg_vector_norm", "any")
"""Reductions for which a channel of zeros is none, but for a factor that a later norm may take out."""
RESHAPED = ("unsqueeze", "squeeze", "transpose", "t")
"""What changes the axes of the tensor itself where it works in place."""
_ATTRIBUTE, _PARTS = "_edgegan_labels", "_edgegan_parts"


class Call:
    """One call of an operator: its name, its arguments by name, and its outputs."""

    def __init__(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        schema = func._schema
        self.name: str = schema.name.partition("::")[2]
        self.given = {spec.name: spec.default_value for spec in schema.arguments}
        self.given.update(zip((spec.name for spec in schema.arguments), args))
        self.given.update(kwargs)
        self.inputs = list(_tensors(list(self.given.values())))
        self.outputs = list(_tensors(result if isinstance(result, (tuple, list)) else [result]))

    @property
    def plain_name(self) -> str:
        """The name of the operator that makes a new tensor of the same values."""
        return self.name.strip("_")

    def dims(self, ndim: int) -> list[int]:
        """Return the axes that the call names; all of them where it names none."""
        named = self.given.get("dim", self.given.get("dims"))
        if named is None or named == []:
            return list(range(ndim))
        return [axis % ndim for axis in ([named] if isinstance(named, int) else named)] if ndim else []


class Tracker(TorchDispatchMode):
    """Labels every tensor of what runs in it, and notes in `couplings` what is lost together.

    Norms over all channels need all of them, or, `through_norms`, are taken over those that are left.
    """

    def __init__(self, couplings: Couplings, rules: Mapping[str, Rule], *, through_norms: bool) -> None:
        super().__init__()
        self.couplings, self.through_norms = couplings, through_norms
        self._rules = rules
        self.layers: list[str] = []
        """The names of the layers that run, the innermost last."""
        self._operator = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        call = Call(func, args, kwargs or {}, result)
        if not call.outputs or (call.name.startswith(FACTORIES) and not call.name.endswith("_like")):
            return result
        self._operator = call.plain_name
        found = self._rules.get(call.plain_name, _element_wise)(self, call)
        if found is None:
            found = self.opaque(call)
        for output, axes in zip(call.outputs, found):
            self._set(output, axes, anew=call.plain_name in RESHAPED)
        return result

    def axes(self, tensor: Tensor) -> Axes:
        """Return the labels of a tensor: new ones for one that comes from nowhere, as a constant does."""
        known = self._known(tensor)
        return (
            self.label(tensor, [self.couplings.new(size) for size in tensor.shape])
            if known is None
            else known
        )

    def label(self, tensor: Tensor, axes: Axes) -> Axes:
        """Set the labels of a tensor, and return them."""
        setattr(tensor, _ATTRIBUTE, (self, axes))
        setattr(tensor, _PARTS, {})
        return axes

    def _known(self, tensor: Tensor) -> Axes | None:
        tracker, axes = getattr(tensor, _ATTRIBUTE, (None, None))
        return axes if tracker is self else None

    def tie(self, one: Axes, other: Axes) -> None:
        """Tie axes to axes, the last to the last."""
        for mine, yours in zip(reversed(one), reversed(other)):
            if len(mine) == len(yours):
                self.couplings.tie(mine, yours)

    def keep(self, axes: Sequence[Labels], why: str | None = None) -> None:
        """Let nothing of these axes be lost; by default, since the operator that runs needs all of them."""
        where = f" in {self.layers[-1]!r}" if self.layers and self.layers[-1] else ""
        for labels in axes:
            self.couplings.keep(labels, why or f"{self._operator}{where} needs all of its channels")

    def tie_parts(self, tensor: Tensor, dim: int, part: Labels) -> None:
        """Tie a part of an axis to parts of the same length: they are told apart by halves or thirds."""
        first = getattr(tensor, _PARTS).setdefault((dim, len(part)), part)
        self.couplings.tie(first, part)

    def opaque(self, call: Call) -> list[Axes]:
        """Let nothing be lost that goes into or comes out of an operator that nothing is known of."""
        for tensor in call.inputs:
            self.keep(self.axes(tensor))
        return [[stay(size) for size in output.shape] for output in call.outputs]

    def _set(self, output: Tensor, axes: Axes, *, anew: bool) -> None:
        known = self._known(output)
        if known is None or anew:
            self.label(output, axes)
        else:
            self.tie(known, axes)  # it was written over


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (one for one in value if isinstance(one, Tensor))


def _element_wise(track: Tracker, call: Call) -> list[Axes] | None:
    """Also of operators along an axis, as softmax, Fourier transforms and reductions."""
    if "dim" in call.given or "dims" in call.given:
        return _along_axes(track, call)
    shape = call.outputs[0].shape
    if any(output.shape != shape for output in call.outputs):
        return _reduced(track, call) if len(call.inputs) == 1 and not shape else None
    if any(not _broadcasts(tensor.shape, shape) for tensor in call.inputs):
        return None
    axes = [stay(size) if size == 1 else None for size in shape]
    for tensor in call.inputs:
        for index, labels in enumerate(track.axes(tensor), len(shape) - tensor.ndim):
            if len(labels) == shape[index] and axes[index] is None:
                axes[index] = labels
            elif len(labels) == shape[index]:
                track.couplings.tie(axes[index], labels)  # type: ignore[arg-type]
    made = [track.couplings.new(size) if labels is None else labels for labels, size in zip(axes, shape)]
    return [made] * len(call.outputs)


def _broadcasts(size: Sequence[int], to: Sequence[int]) -> bool:
    return len(size) <= len(to) and all(one in (1, other) for one, other in zip(reversed(size), reversed(to)))


def _along_axes(track: Tracker, call: Call) -> list[Axes] | None:
    x = call.inputs[0]
    axes, dims = track.axes(x), call.dims(x.ndim)
    if all(output.shape == x.shape for output in call.outputs):
        track.keep([axes[dim] for dim in dims])
        return [axes] * len(call.outputs)
    return _reduced(track, call)


def _reduced(track: Tracker, call: Call) -> list[Axes] | None:
    x = call.inputs[0]
    axes, dims = track.axes(x), call.dims(x.ndim)
    if call.plain_name not in SUMS:
        track.keep([axes[dim] for dim in dims])
    shape = call.outputs[0].shape
    if len(shape) == len(axes):
        made = [stay(shape[index]) if index in dims else labels for index, labels in enumerate(axes)]
    else:
        made = [labels for index, labels in enumerate(axes) if index not in dims]
    return [made] * len(call.outputs) if tuple(map(len, made)) == tuple(shape) else None
