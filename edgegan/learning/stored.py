"""Real samples, stored small, in the form in which a generator gives its own."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from edgegan.runtime.contract import Output
from edgegan.runtime.modality import ClassMap, Image, Tokens, Video


def class_axis(output: Output) -> int | None:
    """Return the axis of the classes in `output`'s shape where samples are stored as ids, else None."""
    modality = output.modality
    if isinstance(modality, ClassMap):
        return 0
    return modality.axis % 2 if isinstance(modality, Tokens) else None


def as_output(stored: Tensor, output: Output) -> Tensor:
    """Return samples as floats (N, *output.shape), in the output's range.

    Args:
        stored: uint8 (N, C, H, W) of an image, or in the layout of a video; ids (N, *places) of a map of
            classes or of tokens, which become one-hot scores; of all else the values themselves.
        output: what they stand for.
    """
    low, high = output.range
    if isinstance(output.modality, (Image, Video)):
        return stored.float() / 255 * (high - low) + low
    axis = class_axis(output)
    if axis is None:
        return stored.float()
    return F.one_hot(stored.long(), output.shape[axis]).movedim(-1, 1 + axis).float() * (high - low) + low
