"""What operators that rearrange, take parts or join do to the labels of axes."""

from __future__ import annotations

import numpy as np
import torch

from edgegan.compress.prune.couplings import PLACES, stay
from edgegan.compress.prune.tracker import Axes, Call, Rule, Tracker


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


REARRANGEMENTS: dict[str, Rule] = {
    **dict.fromkeys(("view", "unsafe_view", "reshape", "reshape_alias"), _regrouped),
    **dict.fromkeys(("unsqueeze", "squeeze"), _same_with_ones),
    **dict.fromkeys(("transpose", "t", "permute"), _transposed),
    **dict.fromkeys(("expand", "repeat"), _expanded),
    "constant_pad_nd": _padded,
    "cat": _joined,
    "stack": _stacked,
    "slice": _sliced,
    **dict.fromkeys(
        ("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "chunk"), _parted
    ),
    **dict.fromkeys(("select", "unbind"), _picked),
    **dict.fromkeys(("index", "index_select"), _indexed),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), _blocks),
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), _shuffled),
    "im2col": _unfolded,
    "col2im": _folded,
    "unfold": _windows,
    "view_as_real": _in_parts,
    "view_as_complex": _from_parts,
    "glu": _gated,
}
