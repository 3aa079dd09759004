"""What operators of torch and of ONNX do: which compute, which change a shape, which move values about."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

aten = torch.ops.aten


class Operators(NamedTuple):
    """Those of one kind: torch's, as traced graphs hold them, and ONNX's by name."""

    torch: tuple[Any, ...]
    onnx: tuple[str, ...]


CONVOLUTIONS = {
    aten.conv1d.default: 1,
    aten.conv2d.default: 2,
    aten.conv3d.default: 3,
    aten.conv1d.padding: 1,
    aten.conv2d.padding: 2,
    aten.conv3d.padding: 3,
}
"""Operator to the number of its spatial axes."""
TRANSPOSED = {
    aten.conv_transpose1d.default: 1,
    aten.conv_transpose2d.input: 2,
    aten.conv_transpose3d.input: 3,
}
UPSAMPLES = (
    aten.upsample_nearest1d.vec,
    aten.upsample_nearest2d.vec,
    aten.upsample_nearest3d.vec,
    aten._upsample_nearest_exact1d.vec,
    aten._upsample_nearest_exact2d.vec,
    aten._upsample_nearest_exact3d.vec,
)
"""Nearest-neighbour up-sampling."""

LAYERS = Operators(
    (*CONVOLUTIONS, *TRANSPOSED, aten.linear.default),
    ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "GRU", "LSTM", "RNN"),
)
"""Multiply and accumulate, of two operands at least; torch's are those with a weight of their own."""
INT8_LAYERS = Operators(
    (*CONVOLUTIONS, aten.linear.default),
    ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger"),
)
"""Those that are quantized, and what ONNX Runtime runs them in."""
RESHAPES = Operators(
    (
        aten.reshape.default,
        aten.view.default,
        aten.flatten.using_ints,
        aten.unflatten.int,
        aten.unsqueeze.default,
        aten.squeeze.dim,
    ),
    ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"),
)
"""Change a shape: values stay in their order."""
REORDERS = Operators(
    (aten.permute.default, aten.transpose.int, aten.pixel_shuffle.default, aten.pixel_unshuffle.default),
    ("Transpose", "DepthToSpace", "SpaceToDepth"),
)
"""Give all values in another order."""
SELECTIONS = Operators(
    (
        aten.slice.Tensor,
        aten.upsample_nearest1d.vec,
        aten.upsample_nearest2d.vec,
        aten.upsample_nearest3d.vec,
        aten.max_pool2d.default,
    ),
    ("Slice", "Split", "Gather", "Resize", "Upsample", "Pad", "MaxPool"),
)
"""Give some of the values, or some more than once. Resize and Pad do so in some modes alone."""
MOVES = Operators(*(a + b + c for a, b, c in zip(RESHAPES, REORDERS, SELECTIONS)))
"""Move values about: what they give has the levels of what they take."""
