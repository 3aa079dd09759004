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
from edgegan.compress.generator import prepare
from edgegan.errors import InputError, ModelError
from edgegan.init.examine import Examined, examine
from edgegan.init.find_out import check_free, drawable
from edgegan.init.inputs import Guess, Kind, parameters
from edgegan.init.trying import DOUBTS, fault
from edgegan.module_copy import copy_of
from edgegan.runtime.contract import Contract
from edgegan.runtime.sizes import Axis

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
            pictures are stored. Of an input whose sizes are free there is a list of arrays of several sizes,
            of which the first are nominal.
        calibration: real inputs; see `collected`.

    Raises:
        InputError: an example or the calibration does not fit.
        ModelError: the module does not run on such inputs.
    """
    several = _named(module, examples)
    given = {name: arrays[0] for name, arrays in several.items()}
    in_a_row(module, list(given))
    guesses = tuple(_guess(name, array) for name, array in given.items())
    problem = fault(module, guesses)
    if problem is not None and problem not in DOUBTS:
        raise ModelError(
            f"the module does not run on inputs like the examples: {problem}",
            next="give a batch of each input that forward needs, in its order or by its parameters' names",
        )
    seen = examine(module, guesses)
    paths = {entry.data["name"]: entry.path or "0" for entry in seen.outputs} if seen.nested else {}
    if any(len(arrays) > 1 for arrays in several.values()):
        _check_traced(seen, module, paths)
    elif seen.sizes:
        free = " and ".join(seen.sizes)
        seen.notes[0] = (
            f"{free} could be free: give a list of examples of several sizes for files that take any"
        )
        seen.sizes, seen.shapes = {}, {}
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
    sides = {
        side: [
            {**entry.data, "shape": seen.shapes.get(entry.data["name"], entry.data["shape"])} for entry in of
        ]
        for side, of in (("inputs", seen.inputs), ("outputs", seen.outputs))
    }
    contract = Contract.from_dict({"sizes": seen.sizes, **sides})
    _check_sizes(contract, several)
    return Described(contract, paths, rows, notes)


def _check_traced(seen: Examined, module: nn.Module, paths: Mapping[str, str]) -> None:
    """Raise `InputError` where the sizes are fixed, as the network runs or as it is traced."""
    adapted = copy_of(module)
    prepare(adapted, drawable(seen.inputs, seen.outputs), paths)
    check_free(seen, adapted)
    if not seen.sizes:
        raise InputError(
            f"there are examples of several sizes, and {seen.notes[0]}",
            next="give examples of one size, or a Contract with the sizes that the network takes",
        )


def _check_sizes(contract: Contract, several: Mapping[str, Sequence[NDArray[Any]]]) -> None:
    """Raise `InputError` where an example is of a size that the contract does not have."""
    for spec in contract.inputs:
        for array in several[spec.name]:
            shape, axes = array.shape[1:], spec.axes
            fits = len(shape) == len(spec.shape) and all(
                _is_free(contract, axis, length) if axis else length == size
                for length, size, axis in zip(shape, spec.shape, axes)
            )
            if not fits:
                free = ", ".join(map(str, contract.sizes))
                raise InputError(
                    f"an example of {spec.name!r} is of shape {shape}, and it takes {free}",
                    next="leave that example out, or give a Contract",
                )


def _is_free(contract: Contract, axis: Axis, length: int) -> bool:
    size = next(size for size in contract.sizes if size.name == axis.size)
    solved = axis.solve(length)
    return solved is not None and size.min <= solved <= size.max


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


def _named(module: nn.Module, examples: Any) -> dict[str, list[NDArray[Any]]]:
    names = [parameter.name for parameter in parameters(module)]
    if isinstance(examples, Mapping):
        order = sorted(examples, key=lambda name: names.index(name) if name in names else len(names))
        return {name: _arrays(name, examples[name]) for name in order}
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
    return {name: _arrays(name, value) for name, value in zip(names, row)}


def _row(values: Any) -> Sequence[Any]:
    return values if isinstance(values, (tuple, list)) else [values]


def _arrays(name: str, value: Any) -> list[NDArray[Any]]:
    """Return an example, or those of several sizes."""
    if isinstance(value, (list, tuple)) and value and all(np.ndim(one) > 1 for one in value):
        return [_array(name, one) for one in value]
    return [_array(name, value)]


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
        array.ndim in (2, 4)
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
