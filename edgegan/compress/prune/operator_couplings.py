"""What each operator does to the labels of its inputs' axes (see `couplings`).

The rules are optimistic: what an operator computes with fewer channels is tried out later. They say which
positions of inputs, weights and outputs belong together, for the operators that torch comes down to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from edgegan.compress.prune.couplings import PLACES, Couplings, Labels, stay

Axes = list[Labels]
"""The labels of each axis of a tensor."""
Rule = Callable[["Tracker", "Call"], "list[Axes] | None"]
"""Returns the labels of the outputs, in their order; None where the operator is not what the rule is for."""
FACTORIES = ("new_", "empty", "zeros", "ones", "full", "rand", "arange", "scalar_tensor", "linspace", "eye")
SUMS = ("sum", "mean", "linalg_vector_norm", "any")
"""Reductions for which a channel of zeros is none, but for a factor that a later norm may take out."""
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

    def __init__(self, couplings: Couplings, *, through_norms: bool) -> None:
        super().__init__()
        self.couplings, self.through_norms = couplings, through_norms
        self.layers: list[str] = []
        """The names of the layers that run, the innermost last."""
        self._operator = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        call = Call(func, args, kwargs or {}, result)
        if not call.outputs or (call.name.startswith(FACTORIES) and not call.name.endswith("_like")):
            return result
        self._operator = call.plain_name
        found = RULES.get(call.plain_name, _element_wise)(self, call)
        if found is None:
            found = self.opaque(call)
        for output, axes in zip(call.outputs, found):
            self._set(output, axes, anew=call.plain_name in VIEWS)
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


def _convolution(track: Tracker, call: Call) -> list[Axes]:
    x, weight = call.given["input"], call.given["weight"]
    groups, transposed = call.given["groups"], call.given["transposed"]
    (samples, channels, *space), (rows, columns, *kernel) = track.axes(x), track.axes(weight)
    track.keep([samples, *space, *kernel], PLACES)
    size = call.outputs[0].shape
    if groups == 1:
        into, out = (rows, columns) if transposed else (columns, rows)
        track.couplings.tie(channels, into)
    else:
        track.keep([columns])
        out = track.couplings.new(size[1])
        track.couplings.tie(rows, channels if transposed else out)
        _tie_groups(track, groups, channels, out)
    if call.given["bias"] is not None:
        track.tie([out], track.axes(call.given["bias"]))
    return [[samples, out, *map(stay, size[2:])]]


def _tie_groups(track: Tracker, groups: int, *axes: Labels) -> None:
    """Let the channels of a group be lost together."""
    rows = [labels.reshape(groups, -1) for labels in axes]
    for row in rows:
        track.couplings.tie(rows[0][:, :1], row)


def _product(track: Tracker, call: Call) -> list[Axes]:
    """Of matrices, batches of them, or vectors, with or without something added."""
    one, other = (track.axes(tensor) for tensor in call.inputs[-2:])
    track.couplings.tie(one[-1], other[max(0, len(other) - 2)])
    left, right = one[:-1], other[-1:] if len(other) > 1 else []
    if len(one) == 3:
        track.couplings.tie(one[0], other[0])
    made = [*left, *right]
    if len(call.inputs) == 3:
        track.tie(made, track.axes(call.inputs[0]))
    return [made]


def _attention(track: Tracker, call: Call) -> list[Axes]:
    query, key, value = (track.axes(call.given[name]) for name in ("query", "key", "value"))
    track.keep([*query[-2:], *key[-2:], value[-2]])
    for ours, theirs, others in zip(query[:-2], key[:-2], value[:-2]):
        track.couplings.tie(ours, theirs)
        track.couplings.tie(ours, others)
    made = [[*query[:-1], value[-1]]]
    return made + [[stay(size) for size in output.shape] for output in call.outputs[1:]]


def _batch_norm(track: Tracker, call: Call) -> list[Axes]:
    axes = track.axes(call.inputs[0])
    for tensor in call.inputs[1:]:
        track.tie(axes[1:2], track.axes(tensor))
    return _first_alone(track, call, axes)


def _group_norm(track: Tracker, call: Call) -> list[Axes]:
    axes = track.axes(call.inputs[0])
    for tensor in call.inputs[1:]:
        track.tie(axes[1:2], track.axes(tensor))
    if call.given["group"] > 1 or not track.through_norms:
        _tie_groups(track, call.given["group"], axes[1])
    return _first_alone(track, call, axes)


def _layer_norm(track: Tracker, call: Call) -> list[Axes]:
    axes = track.axes(call.inputs[0])
    channels, *others = axes[-len(call.given["normalized_shape"]) :]
    track.keep(others if track.through_norms else [channels, *others])
    for tensor in call.inputs[1:]:
        track.couplings.tie(channels, track.axes(tensor)[0])
    return _first_alone(track, call, axes)


def _first_alone(track: Tracker, call: Call, axes: Axes) -> list[Axes]:
    """Return the labels of a norm's output; beside it are statistics that nobody reads."""
    return [axes, *([track.couplings.new(size) for size in made.shape] for made in call.outputs[1:])]


def _space(track: Tracker, call: Call) -> list[Axes] | None:
    """Pooling, resizing, padding and sampling, which leave channels as they are."""
    x, made = call.inputs[0], call.outputs[0]
    if made.ndim != x.ndim:
        return None
    axes = track.axes(x)
    for tensor in call.inputs[1:]:
        track.keep(track.axes(tensor))
    kept = [axis if len(axis) == size else None for axis, size in zip(axes, made.shape)]
    track.keep([axis for axis, same in zip(axes[2:], kept[2:]) if same is None], PLACES)
    result = [stay(size) if axis is None else axis for axis, size in zip(kept, made.shape)]
    return [result] * len(call.outputs)


def _padded(track: Tracker, call: Call) -> list[Axes]:
    axes = list(track.axes(call.inputs[0]))
    ends = call.given["pad"]
    for index, (before, behind) in enumerate(zip(ends[::2], ends[1::2])):
        axis = len(axes) - 1 - index
        labels = axes[axis][max(0, -before) : len(axes[axis]) - max(0, -behind)]
        axes[axis] = np.concatenate([stay(max(0, before)), labels, stay(max(0, behind))])
    return [axes]


def _regrouped(track: Tracker, call: Call) -> list[Axes]:
    axes = track.axes(call.inputs[0])
    return [track.couplings.regroup(axes, output.shape) for output in call.outputs]


def _same_with_ones(track: Tracker, call: Call) -> list[Axes]:
    """Axes of one position come or go."""
    left = [labels for labels in track.axes(call.inputs[0]) if len(labels) != 1]
    return [[stay(1) if size == 1 else left.pop(0) for size in call.outputs[0].shape]]


def _transposed(track: Tracker, call: Call) -> list[Axes]:
    axes = list(track.axes(call.inputs[0]))
    if "dims" in call.given:
        return [[axes[dim] for dim in call.given["dims"]]]
    one, other = (call.given["dim0"], call.given["dim1"]) if "dim0" in call.given else (0, -1)
    if len(axes) > 1:
        axes[one], axes[other] = axes[other], axes[one]
    return [axes]


def _expanded(track: Tracker, call: Call) -> list[Axes]:
    """`expand`, and `repeat` of whole axes."""
    axes, shape = track.axes(call.inputs[0]), call.outputs[0].shape
    axes = [stay(1)] * (len(shape) - len(axes)) + axes
    return [
        [
            track.couplings.new(size) if len(labels) == 1 else np.tile(labels, size // max(1, len(labels)))
            for labels, size in zip(axes, shape)
        ]
    ]


def _joined(track: Tracker, call: Call) -> list[Axes]:
    shape = call.outputs[0].shape
    dim = call.given["dim"] % len(shape)
    parts = [track.axes(tensor) for tensor in call.inputs if tensor.ndim == len(shape)]
    for other in parts[1:]:
        for index in range(len(shape)):
            if index != dim:
                track.couplings.tie(parts[0][index], other[index])
    made = list(parts[0])
    made[dim] = np.concatenate([part[dim] for part in parts])
    return [made]


def _stacked(track: Tracker, call: Call) -> list[Axes]:
    parts = [track.axes(tensor) for tensor in call.inputs]
    for other in parts[1:]:
        track.tie(parts[0], other)
    made = list(parts[0])
    made.insert(call.given["dim"] % len(call.outputs[0].shape), stay(len(parts)))
    return [made]


def _sliced(track: Tracker, call: Call) -> list[Axes]:
    x = call.inputs[0]
    axes, dim = list(track.axes(x)), call.given["dim"] % x.ndim
    span = slice(call.given["start"], call.given["end"], call.given["step"])
    part = axes[dim][span]
    if len(part) < len(axes[dim]):
        track.tie_parts(x, dim, part)
    axes[dim] = part
    return [axes]


def _parted(track: Tracker, call: Call) -> list[Axes]:
    x = call.inputs[0]
    axes, dim, start = track.axes(x), call.given["dim"] % x.ndim, 0
    result: list[Axes] = []
    for output in call.outputs:
        part = axes[dim][start : start + output.shape[dim]]
        track.tie_parts(x, dim, part)
        result.append([*axes[:dim], part, *axes[dim + 1 :]])
        start += output.shape[dim]
    return result


def _picked(track: Tracker, call: Call) -> list[Axes]:
    """`select` and `unbind`: single positions, named by number."""
    axes, dim = track.axes(call.inputs[0]), call.given["dim"] % call.inputs[0].ndim
    track.keep([axes[dim]])
    return [[*axes[:dim], *axes[dim + 1 :]]] * len(call.outputs)


def _looked_up(track: Tracker, call: Call) -> list[Axes]:
    """`embedding`: rows by number."""
    rows, features = track.axes(call.given["weight"])
    track.keep([rows])
    return [[*map(stay, call.given["indices"].shape), features]]


def _indexed(track: Tracker, call: Call) -> list[Axes] | None:
    """`index` and `index_select` along one axis."""
    x = call.inputs[0]
    axes = track.axes(x)
    if call.name == "index_select":
        dims, index = [call.given["dim"] % x.ndim], call.given["index"]
    else:
        dims = [i for i, one in enumerate(call.given["indices"]) if one is not None]
        index = call.inputs[1]
    if len(dims) != 1 or index.dtype == torch.bool:
        return None
    track.keep([axes[dims[0]], *track.axes(index)])
    return [[*axes[: dims[0]], *map(stay, index.shape), *axes[dims[0] + 1 :]]]


def _blocks(track: Tracker, call: Call) -> list[Axes]:
    """`pixel_shuffle` and `pixel_unshuffle`, whose channels are r * r of what they come from or go to."""
    axes = track.axes(call.inputs[0])
    before, behind = len(axes[-3]), call.outputs[0].shape[-3]
    track.keep(axes[-2:], PLACES)
    if before > behind:
        rows = axes[-3].reshape(behind, -1)
        track.couplings.tie(rows[:, :1], rows)
        channels = rows[:, 0]
    else:
        channels = np.repeat(axes[-3], behind // before)
    return [[*axes[:-3], channels, *map(stay, call.outputs[0].shape[-2:])]]


def _unfolded(track: Tracker, call: Call) -> list[Axes]:
    samples, channels, *space = track.axes(call.inputs[0])
    track.keep(space, PLACES)
    made = call.outputs[0].shape
    return [[samples, np.repeat(channels, made[1] // len(channels)), stay(made[2])]]


def _in_parts(track: Tracker, call: Call) -> list[Axes]:
    """Complex numbers as pairs of real ones."""
    return [[*track.axes(call.inputs[0]), stay(2)]]


def _from_parts(track: Tracker, call: Call) -> list[Axes]:
    return [track.axes(call.inputs[0])[:-1]]


def _windows(track: Tracker, call: Call) -> list[Axes]:
    axes, dim = list(track.axes(call.inputs[0])), call.given["dimension"] % call.inputs[0].ndim
    track.keep([axes[dim]])
    axes[dim] = stay(call.outputs[0].shape[dim])
    return [[*axes, stay(call.given["size"])]]


def _folded(track: Tracker, call: Call) -> list[Axes]:
    samples, rows, places = track.axes(call.inputs[0])
    track.keep([places], PLACES)
    made = call.outputs[0].shape
    blocks = rows.reshape(made[1], -1)
    track.couplings.tie(blocks[:, :1], blocks)
    return [[samples, blocks[:, 0], *map(stay, made[2:])]]


def _shuffled(track: Tracker, call: Call) -> list[Axes]:
    axes = list(track.axes(call.inputs[0]))
    groups = call.given["groups"]
    rows = axes[1].reshape(groups, -1)
    track.couplings.tie(rows[:1], rows)
    axes[1] = rows.T.ravel()
    return [axes]


def _gated(track: Tracker, call: Call) -> list[Axes]:
    axes, dim = list(track.axes(call.inputs[0])), call.given["dim"] % call.inputs[0].ndim
    half, gate = np.split(axes[dim], 2)
    track.couplings.tie(half, gate)
    axes[dim] = half
    return [axes]


VIEWS: dict[str, Rule] = {
    **dict.fromkeys(("view", "unsafe_view", "reshape", "reshape_alias"), _regrouped),
    **dict.fromkeys(("unsqueeze", "squeeze"), _same_with_ones),
    **dict.fromkeys(("transpose", "t", "permute"), _transposed),
}
RULES: dict[str, Rule] = {
    **VIEWS,
    **dict.fromkeys(("expand", "repeat"), _expanded),
    "convolution": _convolution,
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot"), _product),
    **dict.fromkeys(
        ("scaled_dot_product_flash_attention_for_cpu", "scaled_dot_product_attention_math"), _attention
    ),
    "native_batch_norm": _batch_norm,
    "native_group_norm": _group_norm,
    "native_layer_norm": _layer_norm,
    **dict.fromkeys(
        (
            *(f"upsample_{kind}{n}d" for kind in ("nearest", "nearest_exact") for n in (1, 2, 3)),
            *("upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d"),
            *("upsample_bilinear2d_aa", "upsample_bicubic2d_aa", "upsample_nearest_exact2d"),
            *(f"{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)),
            *(f"{kind}_pool{n}d" for kind in ("avg", "adaptive_avg", "lp") for n in (1, 2, 3)),
            *(f"{kind}_pool{n}d_with_indices" for kind in ("max", "adaptive_max") for n in (1, 2, 3)),
            *(f"{kind}_max_pool{n}d" for kind in ("adaptive", "fractional") for n in (2, 3)),
            *("grid_sampler_2d", "grid_sampler_3d"),
        ),
        _space,
    ),
    "constant_pad_nd": _padded,
    "cat": _joined,
    "stack": _stacked,
    "slice": _sliced,
    **dict.fromkeys(
        ("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "chunk"), _parted
    ),
    **dict.fromkeys(("select", "unbind"), _picked),
    "embedding": _looked_up,
    **dict.fromkeys(("index", "index_select"), _indexed),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), _blocks),
    "im2col": _unfolded,
    "unfold": _windows,
    "view_as_real": _in_parts,
    "view_as_complex": _from_parts,
    "col2im": _folded,
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), _shuffled),
    "glu": _gated,
}
