"""Real samples, stored small, in the form in which a generator gives its own."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from edgegan.runtime.contract import Output
from edgegan.runtime.modality import ClassMap, Image


def as_output(stored: Tensor, output: Output) -> Tensor:
    """Return samples as floats (N, *output.shape), in the output's range.

    Args:
        stored: uint8 (N, C, H, W) of an image; ids (N, *places) of a map of classes, which become one-hot
            scores; of all else the values themselves.
        output: what they stand for.
    """
    low, high = output.range
    if isinstance(output.modality, Image):
        return stored.float() / 255 * (high - low) + low
    if isinstance(output.modality, ClassMap):
        return F.one_hot(stored.long(), output.shape[0]).movedim(-1, 1).float() * (high - low) + low
    return stored.float()
