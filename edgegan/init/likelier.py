"""Inputs that a network runs on, made likelier: as large as what it looks at, or what lies beside them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from edgegan.init.inputs import OF_CLASSES
from edgegan.init.trying import FEATURES, Guesses, chosen, fault, outputs, run

OF_PLACES = re.compile(rf"{OF_CLASSES.pattern}|(.*_)?(heat|pose)_?maps?")
"""Names of maps of as many places as the picture beside them has."""
SMALL = 32
"""No picture that a generator is for is smaller."""


def likelier(module: nn.Module, guesses: Guesses, fault: Callable[[Guesses], str | None]) -> Guesses:
    """Return the guesses, on which `module` runs, changed to likelier ones, of which there is no `fault`."""
    for change in (_as_pictures, _as_outputs, _as_used, _as_features):
        other = change(module, guesses)
        guesses = other if other != guesses and fault(other) is None else guesses
    return guesses


def _as_pictures(module: nn.Module, guesses: Guesses) -> Guesses:
    """Return the guesses with small maps, which a network may stretch, as large as the picture beside them:
    those of few channels, and those that tell something of each place by their names.
    """
    sizes = {guess.shape[1:] for guess in guesses if guess.kind == "picture"}
    if len(sizes) != 1:
        return guesses
    size = sizes.pop()
    return tuple(
        replace(guess, kind="picture", shape=(guess.shape[0], *size))
        if guess.kind == "map"
        and ((guess.shape[0] <= 4 and guess.shape[-1] > 1) or OF_PLACES.fullmatch(guess.name.lower()))
        else guess
        for guess in guesses
    )


def _as_outputs(module: nn.Module, guesses: Guesses) -> Guesses:
    """Return the guesses with maps of classes, which a network may stretch, as large as the picture that it
    gives, where that is always as large and none lies beside them; of one place they are taken for maps too.
    """
    maps = [guess.is_class_map or (guess.kind == "onehot" and len(guess.shape) == 3) for guess in guesses]
    if not any(maps) or any(guess.kind == "picture" for guess in guesses):
        return guesses
    size = chosen(outputs(run(module, guesses, 2), 2))[0][1].shape[2:]
    if len(size) != 2:
        return guesses
    others = tuple(
        replace(guess, shape=(*guess.shape[:-2], *size)) if is_map else guess
        for guess, is_map in zip(guesses, maps)
    )
    fits = fault(module, others) is None
    return others if fits and chosen(outputs(run(module, others, 2), 2))[0][1].shape[2:] == size else guesses


def _as_used(module: nn.Module, guesses: Guesses) -> Guesses:
    """Return the guesses with vectors, and rows, that may be of any number as many as it looks at."""
    for index, guess in enumerate(guesses):
        if guess.kind not in ("vector", "sequence") or guess.shape[0] < 2:
            continue
        if fault(module, _with(guesses, index, guess.shape[0] - 1)) is not None:
            continue
        values = [other.draw(2) for other in guesses]
        drawn = values[index].requires_grad_()
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            values[index] = drawn.clone()
            made = [value.square().sum() for _, value in outputs(module(*values), 2) if value.requires_grad]
        slopes = torch.autograd.grad(made, [drawn], allow_unused=True) if made else [None]
        looked = None if slopes[0] is None else slopes[0].ne(0).any(0).reshape(guess.shape[0], -1).any(1)
        seen = [] if looked is None else looked.nonzero().flatten().tolist()
        guesses = _with(guesses, index, seen[-1] + 1) if seen else guesses
    return guesses


def _with(guesses: Guesses, index: int, width: int) -> Guesses:
    return (*guesses[:index], guesses[index].resized(0, width), *guesses[index + 1 :])


def _as_features(module: nn.Module, guesses: Guesses) -> Guesses:
    """Return the guesses with maps of one place as large as maps of features are, where a network gives as
    many times more for them, and little for one: a latent's first layer adds to what it gives.
    """
    wide = tuple(
        replace(guess, shape=(guess.shape[0], *(FEATURES,) * (len(guess.shape) - 1)))
        if guess.kind == "map" and guess.shape[-1] == 1
        else guess
        for guess in guesses
    )
    if wide == guesses or fault(module, wide) is not None:
        return guesses
    one, many = (chosen(outputs(run(module, each, 2), 2))[0][1].shape[2:] for each in (guesses, wide))
    grown = all(more == FEATURES * size for size, more in zip(one, many))
    return wide if one and grown and max(one) < SMALL else guesses
