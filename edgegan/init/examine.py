"""A network tried out: what it takes and gives, where that rests on guesses, and in what it is odd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from edgegan.init.free_sizes import Free, free_sizes
from edgegan.init.inputs import Guess
from edgegan.init.modality import is_picture, modality_of
from edgegan.init.output_bounds import Bounds, Range
from edgegan.init.ranges import latent_drawn, output_range, picture_drawn, values_of
from edgegan.init.trying import call, chosen, outputs, run
from edgegan.runtime.contract import RESERVED

MOST_CLASSES = 1 << 16
SEEN = 256
"""Labels that are looked at of a network that takes any."""
SAMPLES = 16
NOISE = {
    "mean": "noise: mean leaves it out; fixed keeps one draw, and names of inputs take it from the app",
    "fixed": "noise: fixed keeps one draw for all; mean takes none, and names of inputs take it from the app",
}


@dataclass
class Entry:
    """An input or output of the contract, as plain data, and what to say of it.

    `made` says what can be made up in the place of real ones: "pictures" or "masks".
    """

    data: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    made: str | None = None
    path: str | None = None
    """Of an output that is nested in what the network returns."""


@dataclass
class Examined:
    """What a network takes and gives, as plain data fit for JSON."""

    inputs: list[Entry]
    outputs: list[Entry]
    notes: list[str]
    nested: bool
    noise: str | None
    """What a recipe may put in the place of what is drawn in forward."""
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    """The contract's free sizes."""
    shapes: dict[str, list[int | str]] = field(default_factory=dict)
    """Entry to its shape with the names of free sizes, where there are any."""


def examine(module: nn.Module, inputs: tuple[Guess, ...]) -> Examined:
    """Try `module`, in eval mode, out on `inputs`, which it runs on."""
    inputs = tuple(_counted(module, inputs, index) for index in range(len(inputs)))
    bounds = Bounds(module)
    with bounds:
        result = run(module, inputs, 2)
    given = outputs(result, 2)
    taken = chosen(given)
    bound = bounds.of(taken[0][1])
    ranges: dict[str, Range | None] = {}
    entries = [_input(module, inputs, guess, bound, ranges) for guess in inputs]
    made = [_output(module, inputs, ranges, path, bounds.of(value)) for path, value in taken]
    _name(entries, made)
    nested = isinstance(result, dict) or len(given) != len(taken) or not _in_a_row(result)
    noise, odd = _oddities(module, inputs, ranges)
    free = free_sizes(module, inputs, [path for path, _ in taken])
    notes = [*_told(free, inputs), *odd]
    if len(given) > len(taken):
        left = [
            f"{'.'.join(path)} {tuple(value.shape[1:])}" for path, value in given if path not in dict(taken)
        ]
        notes.append(f"guess: of what forward returns these were left out: {', '.join(left)}")
    shapes: dict[str, list[int | str]] = {}
    if free is not None:
        given = {entry.data["name"]: free.inputs[guess.name] for entry, guess in zip(entries, inputs)}
        shapes = given | {entry.data["name"]: free.outputs[path] for entry, (path, _) in zip(made, taken)}
    return Examined(entries, made, notes, nested, noise, free.sizes if free else {}, shapes)


def _counted(module: nn.Module, inputs: tuple[Guess, ...], index: int) -> Guess:
    """Return the label at `index` with as many classes as the network takes: it runs on the last one.

    Where it runs on any, they are as many as change something, or else those of the module's own numbers.
    """
    guess = inputs[index]
    if guess.kind not in ("label", "tokens"):
        return guess

    def runs(label: int) -> bool:
        values = [one.draw(2) for one in inputs]
        values[index] = torch.full_like(values[index], label)
        try:
            call(module, values)
        except Exception:
            return False
        return True

    low, high = 0, max(guess.classes, 2)
    while high < MOST_CLASSES and runs(high - 1):
        low, high = high, 2 * high
    if high >= MOST_CLASSES and runs(high - 1):
        told = _telling(module, inputs, index)
        return replace(guess, classes=told) if told else replace(guess, endless=True)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if runs(middle - 1) else (low, middle)
    return replace(guess, classes=low)


def _telling(module: nn.Module, inputs: tuple[Guess, ...], index: int) -> int:
    """Return how many of its first numbers a label at `index` tells apart from those that are far larger.

    0 where none of them, or each.
    """
    labels = torch.tensor([*range(SEEN), MOST_CLASSES - 1])
    values = [one.draw(1).expand(SEEN + 1, *one.shape) for one in inputs]
    values[index] = labels.reshape(-1, *(1,) * len(inputs[index].shape)).expand_as(values[index])
    given = outputs(call(module, values), SEEN + 1)[0][1].flatten(1)
    apart = [not torch.allclose(row, given[-1], rtol=1e-4, atol=1e-6) for row in given[:-1]]
    last = max((label for label, differs in enumerate(apart) if differs), default=-1)
    return last + 1 if last + 1 < SEEN else 0


def _in_a_row(result: Any) -> bool:
    return isinstance(result, Tensor) or (
        isinstance(result, (tuple, list)) and all(isinstance(part, Tensor) for part in result)
    )


def _input(
    module: nn.Module,
    inputs: Sequence[Guess],
    guess: Guess,
    bound: Range | None,
    ranges: dict[str, Range | None],
) -> Entry:
    data: dict[str, Any] = {"name": guess.name, "shape": list(guess.shape)}
    if guess.kind in ("label", "tokens"):
        sample = {"kind": "labels", "classes": guess.classes}
        note = f"{guess.classes} classes: the network takes labels up to {guess.classes - 1}"
        if guess.endless:
            note = f"guess: {guess.classes} classes; it takes labels of any size: put their true number here"
        return Entry({**data, "dtype": "int64", "sample": sample}, [note])
    if guess.kind == "onehot":
        note = f"guess: a label of {guess.shape[0]} classes, as the one number that is 1"
        if guess.is_class_map:
            note = f"guess: a map of {guess.shape[0]} classes, at each place as the one channel that is 1"
        notes = [note, *([_real_ones(guess)] if guess.is_class_map else [])]
        return Entry({**data, "sample": {"kind": "one_hot"}}, notes)
    if guess.is_points:
        ranges[guess.name] = (-1.0, 1.0)
        notes = ["guess: places from -1 to 1", _real_ones(guess)]
        return Entry({**data, "sample": {"kind": "uniform", "low": -1, "high": 1}}, notes)
    if guess.kind == "scalar":
        ranges[guess.name] = (0.0, 1.0)
        sample = {"kind": "uniform", "low": 0, "high": 1}
        return Entry({**data, "sample": sample}, ["guess: a number from 0 to 1"])
    if guess.is_mask:
        ranges[guess.name] = (0.0, 1.0)
        return Entry({**data, "sample": {"low": 0, "high": 1}}, ["guess: a mask of 0 and 1"], made="masks")
    if guess.is_picture:
        drawn = picture_drawn(module, inputs, guess, bound)
        ranges[guess.name] = drawn.range
        low, high = drawn.range or (0.0, 1.0)
        note = f"{'' if drawn.sure else 'guess: '}values from {low:g} to {high:g}, {drawn.why}"
        return Entry({**data, "sample": {"low": low, "high": high}}, [note], made="pictures")
    drawn = latent_drawn(module, inputs, guess)
    ranges[guess.name] = drawn.range
    sample = {"kind": "normal"}
    if drawn.range is not None:
        sample = {"kind": "uniform", "low": drawn.range[0], "high": drawn.range[1]}
    notes = [f"{'' if drawn.sure else 'guess: '}{drawn.why}"]
    if guess.free:
        notes.append(_real_ones(guess))
    if guess.kind == "picture":
        notes.append("where it is a map of classes: sample: {kind: one_hot}")
    return Entry({**data, "sample": sample}, notes)


def _real_ones(guess: Guess) -> str:
    rows = f"{guess.name}=array of (M, {', '.join(map(str, guess.shape))})"
    return (
        "guess: real ones make better ranges for INT8; as float32 beside this file, by "
        f"numpy.savez_compressed('inputs.npz', {rows}), and sample: {{kind: stored, file: inputs.npz}}"
    )


def _output(
    module: nn.Module,
    inputs: Sequence[Guess],
    ranges: dict[str, Range | None],
    path: tuple[str, ...],
    bound: Range | None,
) -> Entry:
    n = 2 if any(guess.kind in ("picture", "volume") for guess in inputs) else SAMPLES
    given = dict(outputs(call(module, values_of(inputs, n, ranges, seed=1)), n))
    value = given[path]
    picture = is_picture(value.shape[1:])
    usual = next((ranges[guess.name] for guess in inputs if guess.kind == "picture"), None)
    held, why, sure = output_range(bound, value, picture, usual)
    kind, notes = modality_of(module, inputs, value.shape[1:])
    data = {"name": path[-1] if path else "", "shape": list(value.shape[1:]), "range": list(held), **kind}
    return Entry(data, [f"{'' if sure else 'guess: '}{why}", *notes], path=".".join(path))


def _name(inputs: Sequence[Entry], outputs: Sequence[Entry]) -> None:
    """Give each entry a name that a contract takes, and no other entry has."""
    taken: set[str] = set(RESERVED)
    for entry in (*inputs, *outputs):
        name = str(entry.data["name"])
        if not name.isidentifier():
            name = "image" if entry.data.get("layout") == "CHW" else "output"
        while name in taken:
            name = f"{name}_out" if entry in outputs else f"{name}_in"
        entry.data["name"] = name
        taken.add(name)


def _told(free: Free | None, inputs: tuple[Guess, ...]) -> list[str]:
    """Say what of the sizes is free."""
    if free is not None:
        names = ", ".join(free.sizes)
        return [
            f"free sizes: {names}, found by trying some; samples are drawn, and stages work, at `nominal`"
        ]
    if any(guess.free for guess in inputs):
        return ["its size is fixed: others failed, or gave sizes that are no function of it"]
    return []


def _oddities(
    module: nn.Module, inputs: Sequence[Guess], ranges: dict[str, Range | None]
) -> tuple[str | None, list[str]]:
    found, noise = [], None
    values = values_of(inputs, 2, ranges)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one, other = (outputs(module(*values), 2)[0][1] for _ in range(2))
    if not torch.allclose(one, other, rtol=1e-3, atol=1e-4):
        layers = [layer for layer in module.modules() if isinstance(layer, _DropoutNd) and layer.training]
        noise, why = ("mean", "dropout is on") if layers else ("fixed", "noise is drawn in forward")
        found.append(f"guess: the same input gives another output each time, as {why}: {NOISE[noise]}")
    else:
        for index, guess in enumerate(inputs):
            changed = [*values[:index], *values_of([guess], 2, ranges, seed=7), *values[index + 1 :]]
            if torch.equal(outputs(call(module, changed), 2)[0][1], one):
                found.append(f"guess: {guess.name} changes nothing in the output")
    if any(isinstance(layer, _BatchNorm) and layer.running_mean is None for layer in module.modules()):
        found.append("batch norms without statistics: an output depends on the rest of its batch")
    return noise, found
