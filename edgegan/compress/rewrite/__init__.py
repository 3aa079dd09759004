"""Exact rewrites of a generator's graph, each proven on the contract's own samples.

The graph is that of `torch.export`, so that a rewrite sees what a module computes and not how it is written.
"""

from edgegan.compress.rewrite.batch_statistics import spell_batch_statistics
from edgegan.compress.rewrite.change import Change
from edgegan.compress.rewrite.conv_transpose import conv_transpose_to_linear, conv_transpose_to_shuffle
from edgegan.compress.rewrite.fold_batch_norm import (
    batch_norm_to_affine,
    fold_batch_norm,
    tabulate_conditional_norm,
)
from edgegan.compress.rewrite.fold_norm_forward import fold_norm_after_activation, fold_norm_forward
from edgegan.compress.rewrite.graph import Rewrite, rewrite, trace
from edgegan.compress.rewrite.parametrization import without_parametrizations
from edgegan.compress.rewrite.pixel_blocks import conv_to_pixel_blocks
from edgegan.compress.rewrite.specialize import fold_constants, with_fixed_input
from edgegan.compress.rewrite.upsample import delay_upsample, upsample_conv_to_conv_transpose
from edgegan.compress.rewrite.weights import fold_weights

__all__ = [
    "Change",
    "Rewrite",
    "batch_norm_to_affine",
    "conv_to_pixel_blocks",
    "conv_transpose_to_linear",
    "conv_transpose_to_shuffle",
    "delay_upsample",
    "fold_batch_norm",
    "fold_constants",
    "fold_norm_after_activation",
    "fold_norm_forward",
    "fold_weights",
    "rewrite",
    "spell_batch_statistics",
    "tabulate_conditional_norm",
    "trace",
    "upsample_conv_to_conv_transpose",
    "with_fixed_input",
    "without_parametrizations",
]
