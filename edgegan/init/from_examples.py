"""A contract for a module in memory, from examples of its inputs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgegan.compress.calling import in_a_row
from edgegan.errors import InputError, ModelError
from edgegan.init.examine import examine
from edgegan.init.inputs import Guess, Kind, parameters
from edgegan.init.search import DOUBTS, fault
from edgegan.runtime.contract import Contract

FILE = "inputs.npz"
MOST_ROWS, MOST_BYTES = 512, 256 << 20
FEWEST_ROWS = 8
"""Of an example of pictures, to calibrate on."""
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Described:
    """A contract whose stored inputs are `rows`, and what the recipe's comments would say of it."""

    contract: Contract
    outputs: dict[str, str]
    rows: Arrays
    notes: list[str]


def describe(module: nn.Module, examples: Any, calibration: Any = None) -> Described:
    """Return the contract of `module`, in eval mode, from `examples` of its inputs, a batch each.

    Args:
        module: is run on samples like the examples.
        examples: input to array, or arrays in the order of forward's parameters, or the only one. Whole
            numbers are labels. Floats are drawn as the batch norms remember, or as the examples are spread;
            pictures are stored.
        calibration: real inputs; see `collected`.

    Raises:
        InputError: an example or the calibration does not fit.
        ModelError: the module does not run on such inputs.
    """
    given = _named(module, examples)
    in_a_row(module, list(given))
    guesses = tuple(_guess(name, array) for name, array in given.items())
    problem = fault(module, guesses)
    if problem is not None and problem not in DOUBTS:
        raise ModelError(
            f"the module does not run on inputs like the examples: {problem}",
            next="give a batch of each input that forward needs, in its order or by its parameters' names",
        )
    seen = examine(module, guesses)
    shapes = {
        entry.data["name"]: tuple(entry.data["shape"]) for entry in seen.inputs if "dtype" not in entry.data
    }
    rows = collected(calibration, shapes)
    notes = list(seen.notes)
    for entry, array in zip(seen.inputs, given.values()):
        name = entry.data["name"]
        if entry.made:
            entry.data["sample"] = {"kind": "stored", "file": FILE, **_span(array, entry.data["sample"])}
            rows.setdefault(name, array)
            if len(rows[name]) < FEWEST_ROWS:
                raise InputError(
                    f"{len(rows[name])} pictures of {name!r} are too few to calibrate on",
                    next=f"give calibration=, arrays or a loader of {FEWEST_ROWS} or more real ones",
                )
        elif name in rows:
            entry.data["sample"] = {"kind": "stored", "file": FILE}
        elif entry.data["sample"] == {"kind": "normal"}:
            entry.data["sample"] = _spread(array)
        said = [] if name in rows else [note for note in entry.notes if "guess" in note]
        notes += [f"{name}: {note}" for note in said[:1]]
    if len({len(array) for array in rows.values()}) > 1:
        least = min(map(len, rows.values()))
        rows = {name: array[:least] for name, array in rows.items()}
    notes += [
        f"{entry.data['name']}: {note}" for entry in seen.outputs for note in entry.notes if "guess" in note
    ]
    data = {"inputs": [e.data for e in seen.inputs], "outputs": [e.data for e in seen.outputs]}
    paths = {entry.data["name"]: entry.path or "0" for entry in seen.outputs} if seen.nested else {}
    return Described(Contract.from_dict(data), paths, rows, notes)


def collected(calibration: Any, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """Return the rows of real inputs, float32 or uint8 (M, *shape): the first 512 at the most.

    Args:
        calibration: input to array; or the array of the first; or an iterable of batches, as of a
            `DataLoader`: each one array, a mapping, or a row of which the first are the inputs; or None.
        shapes: input of floats to the shape of a sample.

    Raises:
        InputError: a batch does not fit.
    """
    if calibration is None:
        return {}
    room = MOST_BYTES // max(1, 4 * sum(int(np.prod(shape)) for shape in shapes.values()))
    most = max(1, min(MOST_ROWS, room))
    whole = isinstance(calibration, (Mapping, torch.Tensor, np.ndarray))
    batches: Iterable[Any] = [calibration] if whole else calibration
    found: dict[str, list[NDArray[Any]]] = {}
    count = 0
    for batch in islice(batches, MOST_ROWS):
        named = batch if isinstance(batch, Mapping) else dict(zip(shapes, _row(batch)))
        unknown = [name for name in named if name not in shapes]
        if unknown:
            raise InputError(
                f"the calibration has {unknown[0]!r}, which is no input of floats: {list(shapes)}"
            )
        for name, value in named.items():
            array = _array(name, value)
            if array.shape[1:] != shapes[name]:
                wanted = ", ".join(map(str, ("M", *shapes[name])))
                raise InputError(
                    f"the calibration of {name!r} must be of shape ({wanted}), not {array.shape}"
                )
            found.setdefault(name, []).append(array[: most - count])
        count += max((len(parts[-1]) for parts in found.values()), default=0)
        if count >= most:
            break
    if not count:
        raise InputError("the calibration holds no inputs")
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _named(module: nn.Module, examples: Any) -> Arrays:
    names = [parameter.name for parameter in parameters(module)]
    if isinstance(examples, Mapping):
        order = sorted(examples, key=lambda name: names.index(name) if name in names else len(names))
        return {name: _array(name, examples[name]) for name in order}
    own = inspect.signature(module.forward).parameters.values()
    names += [one.name for one in own if one.kind is one.POSITIONAL_OR_KEYWORD and one.name not in names]
    row = _row(examples)
    if any(one.kind is one.VAR_POSITIONAL for one in own):
        names += [f"input_{place}" for place in range(len(names), len(row))]
    if len(row) < len(parameters(module)):
        raise InputError(
            f"forward takes {', '.join(names)}, and there are {len(row)} examples", next="give one of each"
        )
    if len(row) > len(names):
        raise InputError(
            f"forward takes {', '.join(names)}, and there are {len(row)} examples",
            next="name them, as in {'z': z, 'label': label}",
        )
    return {name: _array(name, value) for name, value in zip(names, row)}


def _row(values: Any) -> Sequence[Any]:
    return values if isinstance(values, (tuple, list)) else [values]


def _array(name: str, value: Any) -> NDArray[Any]:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.ndim == 0 or len(array) == 0 or array.dtype.kind not in "fiu":
        raise InputError(f"{name!r} must be a batch of numbers, not {array.dtype} of shape {array.shape}")
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _guess(name: str, array: NDArray[Any]) -> Guess:
    shape, picture = array.shape[1:], array.ndim == 4 and array.shape[1] <= 4 and min(array.shape[2:]) > 3
    if array.dtype.kind in "iu" and not (array.dtype == np.uint8 and picture):
        kind: Kind = "tokens" if shape else "label"
        return Guess(name, kind, shape, classes=int(array.max()) + 1)
    if (
        array.ndim == 2
        and shape[0] > 1
        and bool(((array == 0) | (array == 1)).all() and (array.sum(1) == 1).all())
    ):
        return Guess(name, "onehot", shape)
    kinds: tuple[Kind, ...] = ("scalar", "vector", "signal", "picture" if picture else "map", "volume")
    if array.ndim > len(kinds):
        raise InputError(f"{name!r} has {array.ndim} axes, more than any input that is known")
    return Guess(name, kinds[array.ndim - 1], shape)


def _span(array: NDArray[Any], guessed: Mapping[str, Any]) -> dict[str, Any]:
    """Return between which values pictures lie, by examples of them."""
    if array.dtype == np.uint8:
        return dict(guessed)
    low, high = float(array.min()), float(array.max())
    if high > 2:
        return {"low": 0, "high": 255}
    return {"low": -1 if low < -0.05 else 0, "high": 1}


def _spread(array: NDArray[Any]) -> dict[str, Any]:
    """Return how an input is drawn that is spread as its example is."""
    low, high = float(array.min()), float(array.max())
    if array.size < 16 or low < -1 or high > 1:
        return {"kind": "normal"}
    return {"kind": "uniform", "low": 0 if low >= 0 else -1, "high": 1}
