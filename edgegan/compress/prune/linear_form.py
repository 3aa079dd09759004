"""Convolutions and linear layers as a matrix, and the patches of the input that it multiplies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

KINDS = (_ConvNd, nn.Linear)


def is_plain(layer: nn.Module) -> bool:
    """Whether it is of KINDS, and computes what torch's own class does.

    Classes made of these may pad, scale their weights, or take and give more than a tensor.
    """
    methods = (getattr(type(layer), name, None) for name in ("forward", "_conv_forward"))
    return isinstance(layer, KINDS) and all(
        method is None or method.__module__.startswith("torch.nn.") for method in methods
    )


def matrix(layer: nn.Module) -> Tensor:
    """Return the weights as (groups, outputs of a group, weights of an output)."""
    weight = _weight(layer)
    if isinstance(layer, _ConvTransposeNd):
        grouped = weight.unflatten(0, (layer.groups, -1)).transpose(1, 2)
        return grouped.flip(list(range(3, grouped.ndim))).flatten(3).flatten(2)
    groups = layer.groups if isinstance(layer, _ConvNd) else 1
    return weight.flatten(1).unflatten(0, (groups, -1))


def set_matrix(layer: nn.Module, values: Tensor) -> None:
    """Write into `layer` the weights that `matrix` gives as `values`."""
    weight = _weight(layer)
    if isinstance(layer, _ConvTransposeNd):
        kernel = weight.shape[2:]
        grouped = values.unflatten(2, (-1, *kernel)).transpose(1, 2)
        values = grouped.flip(list(range(3, grouped.ndim))).flatten(0, 1)
    with torch.no_grad():
        weight.copy_(values.reshape(weight.shape))


def rows(layer: nn.Module, output: Tensor) -> Tensor:
    """Return a layer's output as (positions of all samples, channels)."""
    return output.flatten(0, -2) if isinstance(layer, nn.Linear) else output.movedim(1, -1).flatten(0, -2)


def patches(layer: nn.Module, x: Tensor, chosen: Tensor) -> Tensor:
    """Return what the layer multiplies with its weights for the `chosen` rows of its output.

    `x` is its input; the result is (chosen, groups, weights of an output).
    """
    if not isinstance(layer, _ConvNd):
        return x.flatten(0, -2)[chosen][:, None]
    stride, dilation = layer.stride, layer.dilation
    if isinstance(layer, _ConvTransposeNd):
        x, stride = _spread(layer, x), (1,) * len(stride)
    else:
        # Behind `padding="same"` too, this holds what is added on each side.
        ends = layer._reversed_padding_repeated_twice
        x = F.pad(x, ends, "constant" if layer.padding_mode == "zeros" else layer.padding_mode)
    x = x.contiguous()
    reach = [step * (size - 1) + 1 for step, size in zip(dilation, layer.kernel_size)]
    sizes = [(length - far) // step + 1 for length, far, step in zip(x.shape[2:], reach, stride)]
    steps, taps = (
        [along * factor for along, factor in zip(x.stride()[2:], factors)] for factors in (stride, dilation)
    )
    windows = x.as_strided(
        (len(x), *sizes, x.shape[1], *layer.kernel_size), (x.stride(0), *steps, x.stride(1), *taps)
    )
    found = windows[torch.unravel_index(chosen, (len(x), *sizes))]
    return found.unflatten(1, (layer.groups, -1)).flatten(2)


def _spread(layer: _ConvTransposeNd, x: Tensor) -> Tensor:
    """Return the input with zeros between its values and around, as a plain convolution wants it."""
    size = [(length - 1) * step + 1 for length, step in zip(x.shape[2:], layer.stride)]
    spread = x.new_zeros(*x.shape[:2], *size)
    spread[(..., *(slice(None, None, step) for step in layer.stride))] = x
    ends: list[int] = []
    each = zip(layer.kernel_size, layer.dilation, _ends(layer.padding), layer.output_padding)
    for kernel, dilation, padding, more in reversed(list(each)):
        around = dilation * (kernel - 1) - padding
        ends += [around, around + more]
    return F.pad(spread, ends)


def _ends(padding: Sequence[int] | str) -> Sequence[int]:
    assert not isinstance(padding, str)  # transposed convolutions take none by name
    return padding


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer, KINDS)
    return layer.weight
