"""Findings that follow from the layers and operations of a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

from edgegan.compress.lint.finding import Finding, Level, together
from edgegan.compress.lint.watch import MASKED, Watch
from edgegan.compress.parametrization import parametrized
from edgegan.compress.structure import not_finite


@dataclass(frozen=True)
class Rule:
    """A finding about the operations whose name matches `pattern`."""

    pattern: str
    level: Level
    what: str
    why: str
    next: str


RULES = (
    Rule(
        "pixel_shuffle",
        "info",
        "PixelShuffle",
        "the convolution before it loses channels only s*s at a time",
        "nothing: pruning keeps the blocks together",
    ),
    Rule(
        r"_softmax|_scaled_dot_product.*|_native_multi_head_attention|_transformer_encoder_layer_fwd",
        "warning",
        "softmax or attention",
        "the channels that it mixes stay whole when pruning, and softmax stays in float when quantizing",
        "expect less from prune and quantize here",
    ),
    Rule(
        "native_group_norm|native_layer_norm",
        "warning",
        "GroupNorm or LayerNorm",
        "its statistics are taken over channels at run time: pruning takes whole groups of it, a LayerNorm's "
        "channels stay, and it stays in float when quantizing",
        "use BatchNorm where the model can be trained again",
    ),
    Rule(
        r"reflection_pad\dd",
        "info",
        "reflection padding",
        "it is a layer of its own at run time, where zero padding costs nothing",
        "use zero padding where the model can be trained again",
    ),
    Rule(
        "native_dropout|bernoulli_?|exponential_?|rand|rand_like|randn|randn_like|normal_?|uniform_?|randint|randint_like",
        "warning",
        "random numbers or dropout in eval mode",
        "the same input gives another output each time, and engines draw other numbers than torch",
        "say in the recipe what to put in their place: model: {noise: fixed}, {noise: mean} (dropout is off "
        "then), or the names of inputs of the contract",
    ),
    Rule(
        "_local_scalar_dense|is_nonzero|equal",
        "error",
        "Python reads a value from a tensor (control flow)",
        "an exported graph has no Python: the export fails, or freezes what one input chose",
        "use torch.where, or decide from shapes and settings alone",
    ),
    Rule(
        rf"nonzero.*|masked_select|_?unique.*|{MASKED}",
        "error",
        "a shape that depends on the data",
        "engines plan memory from shapes, so such an export is slow or fails",
        "use torch.where or a mask of fixed shape",
    ),
)


def of_weights(module: nn.Module) -> Iterator[Finding]:
    """Find weights and buffers that are NaN or infinite."""
    if broken := not_finite(module):
        yield Finding(
            "error",
            together(broken),
            "weights that are NaN or infinite",
            "every output that they touch is NaN",
            "use a checkpoint from before the training broke",
        )


def of_parametrizations(module: nn.Module) -> Iterator[Finding]:
    """Find spectral and weight norm that is still computed at every run."""
    if names := parametrized(module):
        yield Finding(
            "info",
            together(names),
            "spectral or weight norm is left on",
            "it is computed at every run, and is of use in training only",
            "nothing: prune fixes it at its present value",
        )


def of_operations(watch: Watch) -> Iterator[Finding]:
    """Apply `RULES` to what the run called."""
    for rule in RULES:
        layers = [
            layer
            for operation, callers in watch.operations.items()
            if re.fullmatch(rule.pattern, operation)
            for layer in callers
        ]
        if layers:
            yield Finding(rule.level, together(list(dict.fromkeys(layers))), rule.what, rule.why, rule.next)


def of_layers(module: nn.Module, watch: Watch) -> Iterator[Finding]:
    """Find kinds of layers that deploy badly."""
    layers = {name: layer for name, layer in module.named_modules() if name in watch.shapes}
    norms = [
        name
        for name, layer in layers.items()
        if isinstance(layer, _InstanceNorm) and not layer.track_running_stats
    ]
    if norms:
        yield Finding(
            "warning",
            together(norms),
            "InstanceNorm",
            "its statistics are taken at run time: it cannot be folded, and stays in float when quantizing",
            "expect less from quantize here",
        )
    transposed = {name: layer for name, layer in layers.items() if isinstance(layer, _ConvTransposeNd)}
    yield from _of_transposed(transposed, watch)


def of_widths(module: nn.Module, watch: Watch, align: int, outputs: set[str]) -> Iterator[Finding]:
    """Find layers whose output channels are no multiple of `align`, but for the layers named in `outputs`."""
    odd = [
        name
        for name, layer in module.named_modules()
        if name in watch.shapes and name not in outputs and _width(layer) % align
    ]
    if odd:
        yield Finding(
            "info",
            together(odd),
            f"widths that are no multiple of {align}",
            "kernels fill up to the next multiple, and the rest is wasted",
            f"prune with align: {align}",
        )


def _of_transposed(layers: dict[str, _ConvTransposeNd], watch: Watch) -> Iterator[Finding]:
    if plain := [name for name, layer in layers.items() if layer.groups == 1]:
        yield Finding(
            "info",
            together(plain),
            "ConvTranspose",
            "ONNX Runtime has no INT8 kernel for it",
            "nothing: quantize writes it as Conv and PixelShuffle, which is exact",
        )
    if grouped := [name for name, layer in layers.items() if layer.groups > 1]:
        yield Finding(
            "warning",
            together(grouped),
            "grouped ConvTranspose",
            "ONNX Runtime has no INT8 kernel for it, and it cannot be rewritten",
            "use nearest-neighbour up-sampling and a grouped Conv where the model can be trained again",
        )
    uneven = [
        name
        for name, layer in layers.items()
        if any(
            size > 1 and stride > 1 and kernel % stride
            for size, kernel, stride in zip(watch.shapes[name][2:], layer.kernel_size, layer.stride)
        )
    ]
    if uneven:
        yield Finding(
            "warning",
            together(uneven),
            "the kernel is no multiple of the stride",
            "output positions get unequal shares of the input: checkerboard patterns "
            "(Odena et al. 2016, distill.pub/2016/deconv-checkerboard), which INT8 makes plainer",
            "use kernel 4 with stride 2, or up-sampling and a Conv, where the model can be trained again",
        )


def _width(layer: nn.Module) -> int:
    if isinstance(layer, _ConvNd):
        return layer.out_channels
    return layer.out_features if isinstance(layer, nn.Linear) else 0
