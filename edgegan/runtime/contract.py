"""What a generator takes and gives, and how to sample an input from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import InitVar, asdict, dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError
from edgegan.runtime import modality, sizes
from edgegan.runtime.contract_checks import is_integer, validate_input, validate_output
from edgegan.runtime.modality import Modality
from edgegan.runtime.modality.base import all_finite
from edgegan.runtime.modality.registry import LAYOUTS
from edgegan.runtime.sizes import Axes, Size
from edgegan.runtime.stored_inputs import Arrays, Source, Stored, scaled, shuffled
from edgegan.runtime.streams import NEWEST, stream

RESERVED = ("n", "seed")
"""Not names of inputs or outputs: `Generator` is called with `n` and `seed`, and with inputs by name."""

DTYPES = {name: np.dtype(name) for name in ("float32", "int64")}
_FEW = 16

Bounds = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""The least, the nominal and the largest shape of one sample."""


@dataclass(frozen=True)
class Sample:
    """How an input is drawn.

    Standard `normal`, `uniform` from low to high, `labels` in 0..classes-1, `one_hot`: a 1 among zeros along
    the first axis, `constant`: always `value`, or `stored`: real inputs, rows of the array that has the
    input's name in the .npz `file`, where uint8 0..255 stands for low to high.
    """

    kind: Literal["normal", "uniform", "labels", "one_hot", "constant", "stored"]
    low: float = -1.0
    high: float = 1.0
    classes: int | None = None
    file: str | None = None
    """Of stored inputs: the name of a file beside the recipe, or in the bundle."""
    value: float | None = None

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """Draw an array of `shape` and `dtype`; stored inputs are drawn by `Contract.batches`."""
        if self.kind == "stored":
            raise InputError("stored inputs are drawn from their contract", next="call Contract.sample")
        if self.kind == "normal":
            return rng.standard_normal(shape, dtype=np.float32).astype(dtype)
        if self.kind == "uniform":
            return rng.uniform(self.low, self.high, shape).astype(dtype)
        if self.kind == "constant":
            return np.full(shape, self.value, dtype)
        if self.kind == "one_hot":
            return one_hot(rng.integers(0, shape[1], (shape[0], *shape[2:])), shape[1])
        return rng.integers(0, self.classes or 1, shape).astype(dtype)


@dataclass(frozen=True)
class Input:
    """An input: `shape` is that of one sample, without the batch axis. Labels are int64, all else float32.

    Where `axes` are free, `shape` is that at the contract's nominal sizes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "int64"] = "float32"
    sample: Sample = field(default_factory=lambda: Sample("normal"))
    axes: Axes = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the input as plain data, fit for JSON, without None."""
        data = asdict(self, dict_factory=_without_nones)
        del data["axes"]
        return {**data, "shape": sizes.write_shape(self.shape, self.axes)}


@dataclass(frozen=True)
class Output:
    """An output: `shape` is that of one sample, without the batch axis; `range` its lowest and highest value.

    Where `axes` are free, `shape` is that at the contract's nominal sizes. `modality` is what it is, an image
    by default. `layout` is the older way to say it: "CHW" for images, "" for plain tensors.
    """

    name: str
    shape: tuple[int, ...]
    range: tuple[float, float] = (-1.0, 1.0)
    layout: InitVar[Literal["CHW", ""] | None] = None
    modality: Modality = LAYOUTS["CHW"]
    axes: Axes = ()

    def __post_init__(self, layout: str | None) -> None:
        if layout is None:
            return
        if not isinstance(layout, str) or layout not in LAYOUTS:
            raise InputError(
                f"{self.name!r}: layout {layout!r:.40} is not 'CHW' (images) or '' (anything else)",
                next="say what else it is with `modality`",
            )
        object.__setattr__(self, "modality", LAYOUTS[layout])

    def to_dict(self) -> dict[str, Any]:
        """Return the output as plain data, fit for JSON."""
        return {
            "name": self.name,
            "shape": sizes.write_shape(self.shape, self.axes),
            "range": self.range,
            **modality.spelled(self.modality),
        }


@dataclass(frozen=True)
class Contract:
    """What a generator takes and gives.

    The batch axis comes first everywhere and is free. Shapes are those at the nominal of the free `sizes`,
    where there are any; `at` gives those at others.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    source: Source | None = field(default=None, compare=False, repr=False)
    """Where the files of stored inputs lie, set by `with_stored`; contracts are equal wherever they do."""
    streams: int = NEWEST
    """How streams are seeded (see `streams.py`): the schema of the manifest that a contract was read from."""
    sizes: tuple[Size, ...] = ()
    """What the free axes of inputs and outputs may be."""

    def at(self, given: Mapping[str, int]) -> Contract:
        """Return the contract with `given` as nominal sizes, and the shapes that come of them.

        Stored inputs are cut, or mirrored at their ends, to what they are drawn at.
        """
        if not self.sizes:
            return self
        moved = sizes.with_nominal(self.sizes, given)
        lengths = {size.name: size.nominal for size in moved}
        inputs, outputs = (
            tuple(replace(spec, shape=sizes.at(spec.shape, spec.axes, lengths)) for spec in specs)
            for specs in (self.inputs, self.outputs)
        )
        made = replace(self, inputs=inputs, outputs=outputs, sizes=moved)  # pyright: ignore[reportArgumentType]
        if self.source:
            vars(made)["_files"] = self._files
        return made

    def bounds(self) -> dict[str, Bounds]:
        """Return the least, the nominal and the largest shape of a sample of each input."""
        low = self.at({size.name: size.padded(size.min) for size in self.sizes})
        high = self.at({size.name: size.max // size.multiple * size.multiple for size in self.sizes})
        specs = zip(low.inputs, self.inputs, high.inputs)
        return {spec.name: (least.shape, spec.shape, most.shape) for least, spec, most in specs}

    @property
    def nominal(self) -> dict[str, int]:
        """The nominal of each free size."""
        return {size.name: size.nominal for size in self.sizes}

    def sizes_of(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, int]:
        """Return each free size as `arrays` (N, ...) by input have it, the nominal where none has it.

        Raises:
            InputError: they disagree, or it is no size that the axis can have.
        """
        return sizes.sizes_of(self.sizes, [(spec.name, spec.axes) for spec in self.inputs], arrays)

    def sample(self, n: int, seed: int) -> Arrays:
        """Draw `n` inputs from `seed`; the first `m` of `n` are those of `sample(m, seed)`.

        Each input has a stream of its own (README.md says which). Inputs stored in one file are drawn
        together, row by row, from the stream of the first of them: no row comes twice before each has come
        once.

        Raises:
            InputError: `n` or `seed` is too small or no whole number, or stored inputs cannot be read (see
                `Stored.rows`).
        """
        return next(self.batches(n, seed, n))

    def batches(self, n: int, seed: int, batch: int) -> Iterator[Arrays]:
        """Yield `sample(n, seed)` in batches, without ever holding all of it.

        Raises:
            InputError: see `sample`.
        """
        n, seed = whole(n, "the number of samples", 1), whole(seed, "the seed", 0)
        streams = [stream(seed, index, self.streams) for index in range(len(self.inputs))]
        orders: dict[str, Iterator[int]] = {}
        for spec, rng in zip(self.inputs, streams):
            if spec.sample.file and spec.sample.file not in orders:
                orders[spec.sample.file] = shuffled(rng, self._files.count(spec.sample.file))
        for start in range(0, n, batch):
            size = min(batch, n - start)
            rows = {file: list(islice(order, size)) for file, order in orders.items()}
            yield {
                spec.name: self._stored_rows(spec, rows[spec.sample.file])
                if spec.sample.file
                else spec.sample.draw(rng, (size, *spec.shape), spec.dtype)
                for spec, rng in zip(self.inputs, streams)
            }

    def with_stored(self, folder: Path, read: Callable[[str], bytes] | None = None) -> Contract:
        """Return this contract with its stored inputs drawn from the files in `folder`.

        Each file is read when it is first drawn from. Contracts are equal wherever their files lie.

        Args:
            folder: where the files lie.
            read: gives the bytes of a file by its name, in place of those in the folder.
        """
        return replace(self, source=Source(folder, read))

    @property
    def folder(self) -> Path | None:
        """Where the files of stored inputs lie; None where that is not known."""
        return self.source.folder if self.source else None

    @property
    def stored(self) -> dict[str, Path]:
        """The files of stored inputs by name.

        Raises:
            InputError: there are stored inputs, and where they lie is not known.
        """
        names = sorted({spec.sample.file for spec in self.inputs if spec.sample.file})
        return {name: self._files.folder / name for name in names}

    def check_stored(self) -> None:
        """Raise `InputError` where stored inputs cannot be read, or do not fit (see `Stored.rows`)."""
        for file in self.stored:
            self._files.rows(file)

    def distinct(self) -> int | None:
        """Return how many samples of a seed come before one comes again; None where there is no end to them.

        Raises:
            InputError: stored inputs cannot be read, or do not fit.
        """
        counts = [self._files.count(file) for file in self.stored]
        return max(counts) if all(spec.sample.file for spec in self.inputs) else None

    @cached_property
    def _input_names(self) -> frozenset[str]:
        return frozenset(spec.name for spec in self.inputs)

    @cached_property
    def _files(self) -> Stored:
        if self.source is None:
            raise InputError(
                "the contract has stored inputs, and does not know where they lie",
                next="use contract.with_stored(FOLDER), or give all inputs",
            )
        shapes: dict[str, dict[str, tuple[int | None, ...]]] = {}
        for spec in self.inputs:
            if spec.sample.file:
                free = (None if axis else length for axis, length in zip(spec.axes, spec.shape))
                shapes.setdefault(spec.sample.file, {})[spec.name] = tuple(free) or spec.shape
        return Stored(self.source, shapes)

    def _stored_rows(self, spec: Input, rows: list[int]) -> NDArray[np.float32]:
        array = self._files.rows(spec.sample.file or "")[spec.name]
        drawn = array[rows]
        if spec.axes:
            drawn = sizes.resized(drawn, spec.shape)
        return scaled(drawn, spec.sample.low, spec.sample.high)

    def usual_range(self, spec: Input) -> tuple[float, float] | None:
        """Return the lowest and the highest value that the contract draws for an input.

        None for labels, and for constants, which an app sets as it likes.

        A standard normal's are 6 deviations; those of stored float32 are what the file holds.

        Raises:
            InputError: stored inputs cannot be read, or do not fit.
        """
        if spec.sample.kind in ("labels", "constant"):
            return None
        if spec.sample.kind == "one_hot":
            return 0.0, 1.0
        if spec.sample.kind == "normal":
            return -6.0, 6.0
        if spec.sample.file and self.source:
            rows = self._files.rows(spec.sample.file)[spec.name]
            if rows.dtype == np.float32:
                return float(rows.min()), float(rows.max())
        return spec.sample.low, spec.sample.high

    def check_inputs(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Raise `InputError` where `arrays` does not fit: names, shapes, dtypes, label range, batch sizes."""
        if arrays.keys() != self._input_names:
            names = [spec.name for spec in self.inputs]
            raise InputError(f"the inputs must be {names}, not {sorted(arrays)}")
        for spec in self.inputs:
            array = arrays[spec.name]
            if array.shape[1:] != spec.shape or array.ndim != len(spec.shape) + 1:
                expected = ", ".join(map(str, ("N", *spec.shape)))
                raise InputError(
                    f"input {spec.name!r} must have shape ({expected}), not {array.shape}",
                    next=_layout_advice(spec.shape, array.shape),
                )
            if array.dtype != DTYPES[spec.dtype]:
                raise InputError(f"input {spec.name!r} must be {spec.dtype}, not {array.dtype}")
            if spec.sample.kind == "labels" and not _all_in(array, spec.sample.classes or 0):
                raise InputError(f"input {spec.name!r} must be in 0..{(spec.sample.classes or 0) - 1}")
            if spec.dtype == "float32" and not all_finite(array):
                raise InputError(f"input {spec.name!r} holds NaN or infinity")
        sizes = {name: len(array) for name, array in arrays.items()}
        if 0 in sizes.values() or len(set(sizes.values())) != 1:
            raise InputError(f"all inputs must have the same batch size, 1 or more, not {sizes}")

    def only_output(self, kind: type[Modality]) -> Output:
        """Return the contract's output, where it has one alone and that is of the modality `kind`.

        Raises:
            InputError: there are others.
        """
        if len(self.outputs) != 1 or not isinstance(self.outputs[0].modality, kind):
            given = ", ".join(f"{spec.name!r} ({spec.modality.kind})" for spec in self.outputs)
            raise InputError(f"this needs a generator whose only output is of {kind.kind}, not {given}")
        return self.outputs[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the contract as plain data, fit for JSON; None and the newest streams are left out."""
        sides = {
            "inputs": tuple(spec.to_dict() for spec in self.inputs),
            "outputs": tuple(spec.to_dict() for spec in self.outputs),
        }
        if self.sizes:
            sides = {"sizes": {size.name: size.to_dict() for size in self.sizes}, **sides}
        return sides if self.streams == NEWEST else {"streams": self.streams, **sides}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, streams: int = NEWEST) -> Contract:
        """Rebuild a contract from `to_dict`'s data; `streams` are as given here where that does not say.

        Raises:
            InputError: a field is unknown, missing or of the wrong form.
        """
        try:
            unknown = sorted(set(data) - {"inputs", "outputs", "streams", "sizes"})
            if unknown:
                raise InputError(f"the contract is not well formed: unknown field {unknown[0]!r}")
            free = sizes.read_sizes(data.get("sizes", {}))
            contract = cls(
                inputs=tuple(_input(with_axes(spec, free)) for spec in data["inputs"]),
                outputs=tuple(_output(with_axes(spec, free)) for spec in data["outputs"]),
                streams=data.get("streams", streams),
                sizes=free,
            )
            contract._validate()
        except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
            raise InputError(f"the contract is not well formed: {error}") from error
        return contract

    def _validate(self) -> None:
        if not self.inputs or not self.outputs:
            raise InputError("a contract needs at least one input and one output")
        if not is_integer(self.streams) or not 1 <= self.streams <= NEWEST:
            raise InputError(f"the contract's streams must be 1 to {NEWEST}, not {self.streams!r:.40}")
        names = [spec.name for spec in (*self.inputs, *self.outputs)]
        for name in names:
            if not isinstance(name, str) or not name or name in RESERVED:
                raise InputError(f"{name!r} cannot name an input or output: use text other than {RESERVED}")
        if len(set(names)) != len(names):
            raise InputError(f"the contract's names must differ from each other: {names}")
        for spec in (*self.inputs, *self.outputs):
            if not all(is_integer(size) and size > 0 for size in spec.shape):
                raise InputError(
                    f"{spec.name!r}: every size in {spec.shape} must be a positive integer",
                    next="name those that are free, as in [3, H, W], under the contract's `sizes`",
                )
        for spec in self.inputs:
            validate_input(spec)
        axes = [(spec.name, spec.axes) for spec in self.inputs]
        sizes.check_sizes(self.sizes, axes, [spec.axes for spec in self.outputs])
        files = {spec.sample.file for spec in self.inputs if spec.sample.file}
        if len({file.casefold() for file in files}) != len(files):
            raise InputError(f"{sorted(files)} are one file on systems that ignore case")
        for spec in self.outputs:
            validate_output(spec)


def one_hot(labels: NDArray[np.integer], classes: int) -> NDArray[np.float32]:
    """Return labels (N, ...) as (N, classes, ...): 1 at the label's place, 0 elsewhere."""
    return np.moveaxis(np.eye(classes, dtype=np.float32)[labels], -1, 1)


def _without_nones(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if value is not None}


def _layout_advice(shape: tuple[int, ...], given: tuple[int, ...]) -> str | None:
    """Return how an array comes into the shape of a sample (C, H, W), where it is a picture in another."""
    if given == shape:
        return "a batch of one: give array[None]"
    if len(shape) != 3:
        return None
    turned = (*shape[1:], shape[0])
    if given == turned:
        return "channels come first: give array.transpose(2, 0, 1)[None]"
    if given[1:] == turned:
        return "channels come first: give array.transpose(0, 3, 1, 2)"
    if shape[0] == 1 and given == shape[1:]:
        return "a batch of one with one channel: give array[None, None]"
    return None


def with_axes(data: Mapping[str, Any], free: Sequence[Size]) -> dict[str, Any]:
    """Return an input's or output's entry with its shape at nominal sizes, and its free axes, if any.

    Raises:
        InputError: its shape names a size that there is not.
    """
    if "axes" in data:
        raise InputError(
            f"{data.get('name')!r:.80}: unknown field 'axes'", next="write free axes in its shape"
        )
    given = data.get("shape")
    if not isinstance(given, (list, tuple)) or not any(isinstance(entry, str) for entry in given):
        return dict(data)
    try:
        shape, axes = sizes.read_shape(given, free)
    except InputError as error:
        raise InputError(f"{data.get('name')!r:.80}: {error.what}", next=error.next) from error
    return {**data, "shape": shape, "axes": axes}


def _input(data: Mapping[str, Any]) -> Input:
    sample = Sample(**data.get("sample", {"kind": "normal"}))
    return Input(**{**data, "shape": tuple(data["shape"]), "sample": sample})


def _output(data: Mapping[str, Any]) -> Output:
    low, high = data.get("range", (-1.0, 1.0))
    given = with_modality(data)
    return Output(**{**given, "shape": tuple(data["shape"]), "range": (low, high)})


def with_modality(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an output's entry with its `modality` read, where it has one.

    Raises:
        InputError: there is no such modality, its parameters do not fit, or there is a `layout` as well.
    """
    if "modality" not in data:
        return dict(data)
    if "layout" in data:
        raise InputError(f"{data.get('name')!r:.80}: an output has a modality or a layout, not both")
    try:
        return {**data, "modality": modality.read(data["modality"])}
    except InputError as error:
        raise InputError(f"{data.get('name')!r:.80}: {error.what}", next=error.next) from error


def _all_in(array: NDArray[Any], classes: int) -> bool:
    if array.size <= _FEW:  # faster than two reductions
        return all(0 <= label < classes for label in array.ravel().tolist())
    return bool(array.min() >= 0 and array.max() < classes)


def whole(value: Any, what: str, least: int) -> int:
    """Return a whole number of any type, numpy's too; refuse others, truth values and those below `least`."""
    number = value if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else None
    if number is None or number < least:
        raise InputError(
            f"{what} must be {'a whole number, ' if number is None else ''}{least} or more, not {value!r:.40}"
        )
    return int(number)
