"""A network run on inputs that are guessed, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from edgegan.compress.leaves import leaves
from edgegan.init.inputs import Guess
from edgegan.init.modality import is_picture

BATCH = 2
"""Samples of the first run: a complaint may name it."""
FEW = 8
FEATURES = 8
"""How long and wide maps of features are tried."""
TINY = "its outputs are of a few pixels"
JOINED = "a sample's output depends on the other samples"
BESIDE = re.compile(
    r"(.*_)?(hiddens?|states?|attn|attentions?|weights?|feat(ure)?s?|features_?.*|mu|mean|log_?(var|std)|kl|loss.*|aux.*|z|w|ws|latents?)"
)
"""Names of outputs that are looked at in training."""
SHORT = "its series are of one step"
DOUBTS = (TINY, JOINED, SHORT)
Guesses = tuple[Guess, ...]
NOTHING: AbstractContextManager = nullcontext()


def run(module: nn.Module, inputs: Guesses, n: int, seed: int = 0) -> Any:
    """Run `module` on `n` samples of `inputs`."""
    return call(module, [guess.draw(n, seed) for guess in inputs])


def call(module: nn.Module, values: Sequence[Any]) -> Any:
    """Run `module` without gradients."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return module(*values)


def outputs(result: Any, n: int) -> list[tuple[tuple[str, ...], Tensor]]:
    """Return the floating tensors of `result` that have a row for each of `n` samples, with their paths."""
    return [
        (path, value)
        for path, value in leaves(result)
        if value.is_floating_point() and value.dim() > 1 and len(value) == n
    ]


def chosen(given: list[tuple[tuple[str, ...], Tensor]]) -> list[tuple[tuple[str, ...], Tensor]]:
    """Return the outputs that a generator is for: its pictures of the largest size; without any, those that
    have names, but for what is of use in training only, or else the first.
    """
    pictures = [one for one in given if is_picture(one[1].shape[1:])]
    if not pictures:
        named = [one for one in given if ".".join(one[0]).isidentifier() and not BESIDE.fullmatch(one[0][0])]
        return named or given[:1]
    largest = max(value.shape[2] * value.shape[3] for _, value in pictures)
    return [one for one in pictures if one[1].shape[2] * one[1].shape[3] == largest]


def fault(module: nn.Module, guesses: Guesses, within: AbstractContextManager = NOTHING) -> str | None:
    """Say why `module` cannot be used on `guesses`; None where it runs as a generator has to.

    It is first run `within` something.
    """
    try:
        drawn = [guess.draw(BATCH) for guess in guesses]
        with within:
            first = call(module, drawn)
        given = [outputs(first, BATCH), outputs(run(module, guesses, BATCH + 1), BATCH + 1)]
        if not all(given):
            return "it gives no row for each sample"
        if not all(torch.isfinite(value).all() for _, value in given[0]):
            return "its outputs are not finite"
        two, three = ([(path, value.shape[1:]) for path, value in rows] for rows in given)
        if two != three:
            return "its outputs' shapes depend on the number of samples"
        return JOINED if _in_steps(module, guesses) else _doubt(module, guesses, given[0][0][1])
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _doubt(module: nn.Module, guesses: Guesses, pair: Tensor) -> str | None:
    """Say what makes these inputs unlikely, although the module runs on them and gives `pair` of two."""
    if any(guess.length is not None and guess.shape[guess.length] == 1 for guess in guesses):
        return SHORT
    places = any(guess.kind in ("map", "onehot") and len(guess.shape) > 1 for guess in guesses)
    if pair.dim() == 4 and max(pair.shape[2:]) < FEW and places:
        return TINY
    values = [
        torch.cat([guess.draw(2, seed=1)[:1], drawn[1:]])
        if isinstance(drawn := guess.draw(2), Tensor)
        else drawn
        for guess in guesses
    ]
    beside = outputs(call(module, values), 2)[0][1]
    close = torch.allclose(beside[1], pair[1], rtol=1e-4, atol=1e-5 * float(pair.abs().max()))
    return None if close else JOINED


def _in_steps(module: nn.Module, guesses: Guesses) -> bool:
    """Whether a layer takes the samples of a batch for the steps of a series."""
    n, found = 3, []

    def look(layer: nn.Module, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], Tensor):
            first = getattr(layer, "batch_first", False)
            found.append(given[0].dim() < 3 or given[0].shape[0 if first else 1] % n != 0)

    with ExitStack() as hooks:
        for layer in module.modules():
            if isinstance(layer, (nn.RNNBase, nn.MultiheadAttention)):
                hooks.callback(layer.register_forward_pre_hook(look).remove)
        run(module, guesses, n)
    return any(found)
