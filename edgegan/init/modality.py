"""What an output is, by its shape, the inputs that it comes from, and the network's own numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from edgegan.init.inputs import Guess

SAMPLE_RATE, FPS = 22050, 25
RATE = re.compile(r"(sampling|sample)_?rate|sr|fs")
SHORTEST_WAVE = 200
MOST_CHANNELS = 2


def is_picture(shape: Sequence[int]) -> bool:
    """Whether a sample of this shape is a picture, of 1 or 3 channels and more than a few pixels."""
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) > 3


def modality_of(
    module: nn.Module, inputs: Sequence[Guess], shape: Sequence[int]
) -> tuple[dict[str, Any], list[str]]:
    """Return the part of an output's entry in the contract that says what it is, and what to say of it."""
    kinds = {guess.kind for guess in inputs}
    if is_picture(shape):
        return {"layout": "CHW"}, []
    if len(shape) == 4 and shape[0] == 3:
        return {"modality": {"kind": "video", "fps": FPS}}, [f"guess: a video of {FPS} frames a second"]
    if len(shape) == 2 and "tokens" in kinds:
        return {"modality": {"kind": "tokens"}}, ["guess: scores of a vocabulary, for each place"]
    if len(shape) == 2 and "sequence" in kinds:
        return {"modality": {"kind": "series", "axis": 0}}, ["guess: a series, with time first"]
    wave = (
        len(shape) in (1, 2) and shape[-1] >= SHORTEST_WAVE and (len(shape) == 1 or shape[0] <= MOST_CHANNELS)
    )
    if wave and kinds & {"signal", "contour"}:
        rate = _rate(module)
        note = f"sound at {rate or SAMPLE_RATE} Hz"
        said = note if rate else f"guess: {note}: put the rate that it was trained at here"
        return {"modality": {"kind": "audio", "sample_rate": rate or SAMPLE_RATE}}, [said]
    scores = len(shape) == 3 and shape[0] > 4
    return {"layout": ""}, ["where these are scores of classes: modality: class_map"] if scores else []


def _rate(module: nn.Module) -> int | None:
    named = ((name, value) for layer in module.modules() for name, value in vars(layer).items())
    return next(
        (value for name, value in named if RATE.fullmatch(name) and type(value) is int and value > 1), None
    )
