"""What each operator does to the labels of its inputs' axes (see `couplings`).

The rules are optimistic: what an operator computes with fewer channels is tried out later. They say which
positions of inputs, weights and outputs belong together, for the operators that torch comes down to.
"""

from __future__ import annotations

from edgegan.compress.prune.couplings import PLACES, Labels, stay
from edgegan.compress.prune.rearrangements import REARRANGEMENTS
from edgegan.compress.prune.tracker import Axes, Call, Rule, Tracker


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
        tie_groups(track, groups, channels, out)
    if call.given["bias"] is not None:
        track.tie([out], track.axes(call.given["bias"]))
    return [[samples, out, *map(stay, size[2:])]]


def tie_groups(track: Tracker, groups: int, *axes: Labels) -> None:
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
    if call.given["scale"] is None:  # it follows from the number of features
        track.keep([query[-1]])
    track.couplings.tie(query[-1], key[-1])
    track.keep([query[-2], key[-2], value[-2]])
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
        tie_groups(track, call.given["group"], axes[1])
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


def _looked_up(track: Tracker, call: Call) -> list[Axes]:
    """`embedding`: rows by number."""
    rows, features = track.axes(call.given["weight"])
    track.keep([rows])
    return [[*map(stay, call.given["indices"].shape), features]]


RULES: dict[str, Rule] = {
    **REARRANGEMENTS,
    "convolution": _convolution,
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot"), _product),
    **dict.fromkeys(
        ("scaled_dot_product_flash_attention_for_cpu", "scaled_dot_product_attention_math"), _attention
    ),
    "native_batch_norm": _batch_norm,
    "native_group_norm": _group_norm,
    "native_layer_norm": _layer_norm,
    "embedding": _looked_up,
    **dict.fromkeys(
        (
            *(f"upsample_{kind}{n}d" for kind in ("nearest", "nearest_exact") for n in (1, 2, 3)),
            *("upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d"),
            *("upsample_bilinear2d_aa", "upsample_bicubic2d_aa"),
            *(f"{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)),
            *(f"{kind}_pool{n}d" for kind in ("avg", "adaptive_avg") for n in (1, 2, 3)),
            *(f"max_pool{n}d_with_indices" for n in (1, 2, 3)),
            *(f"{kind}_max_pool{n}d" for kind in ("adaptive", "fractional") for n in (1, 2, 3)),
            *("grid_sampler_2d", "grid_sampler_3d"),
        ),
        _space,
    ),
}
"""By an operator's name, without the mark of working in place; others go by element, or along an axis."""
