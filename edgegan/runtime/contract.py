"""What a generator takes and gives, and how to sample an input from a seed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError
from edgegan.runtime import sizes
from edgegan.runtime.modality import Modality
from edgegan.runtime.numbers import is_integer, number_of_samples, whole
from edgegan.runtime.sampling import NEWEST, Sample, stream
from edgegan.runtime.sizes import Size
from edgegan.runtime.specs import Input, Output
from edgegan.runtime.stored_inputs import Arrays, Source, Stored, scaled, shuffled

__all__ = ["Arrays", "Bounds", "Contract", "Input", "Output", "Sample"]

RESERVED = ("n", "seed")
"""Not names of inputs or outputs: `Generator` is called with `n` and `seed`, and with inputs by name."""

Bounds = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""The least, the nominal and the largest shape of one sample."""


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
    """How streams are seeded (see `sampling.py`): the schema of the manifest that the contract came from."""
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

    def sample(self, n: int, seed: int, without: Collection[str] = ()) -> Arrays:
        """Draw `n` inputs from `seed`; the first `m` of `n` are those of `sample(m, seed)`.

        Those named in `without` are left out, which changes none of the others.

        Each input has a stream of its own (README.md says which). Inputs stored in one file are drawn
        together, row by row, from the stream of the first of them: no row comes twice before each has come
        once.

        Raises:
            InputError: `n` or `seed` is too small or no whole number, or stored inputs cannot be read (see
                `Stored.rows`).
        """
        return next(self.batches(n, seed, n, without))

    def batches(self, n: int, seed: int, batch: int, without: Collection[str] = ()) -> Iterator[Arrays]:
        """Yield `sample(n, seed, without)` in batches, without ever holding all of it.

        Raises:
            InputError: see `sample`.
        """
        n, seed = number_of_samples(n), whole(seed, "the seed", 0)
        wanted = [(index, spec) for index, spec in enumerate(self.inputs) if spec.name not in without]
        streams = {index: stream(seed, index, self.streams) for index, spec in wanted if not spec.sample.file}
        orders: dict[str, Iterator[int]] = {}
        for file in dict.fromkeys(spec.sample.file for _, spec in wanted if spec.sample.file):
            first = next(index for index, spec in enumerate(self.inputs) if spec.sample.file == file)
            orders[file] = shuffled(stream(seed, first, self.streams), self._files.count(file))
        for start in range(0, n, batch):
            size = min(batch, n - start)
            rows = {file: list(islice(order, size)) for file, order in orders.items()}
            yield {
                spec.name: self._stored_rows(spec, rows[spec.sample.file])
                if spec.sample.file
                else spec.sample.draw(streams[index], (size, *spec.shape), spec.dtype)
                for index, spec in wanted
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

    def fewest_stored(self) -> int | None:
        """Return how many samples of a seed come before a stored input comes again; None where none is.

        Raises:
            InputError: stored inputs cannot be read, or do not fit.
        """
        return min([self._files.count(file) for file in self.stored], default=None)

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

        That of its kind, as `Sample.usual`; of stored float32 that of the file.

        Raises:
            InputError: stored inputs cannot be read, or do not fit.
        """
        if spec.sample.file and self.source:
            rows = self._files.rows(spec.sample.file)[spec.name]
            if rows.dtype == np.float32:
                return float(rows.min()), float(rows.max())
        return spec.sample.usual

    def check_inputs(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Raise `InputError` where `arrays` does not fit: names, shapes, dtypes, label range, batch sizes."""
        names = [spec.name for spec in self.inputs]
        if set(arrays) != set(names):
            raise InputError(f"the inputs must be {names}, not {sorted(arrays)}")
        for spec in self.inputs:
            spec.check(arrays[spec.name])
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
                inputs=tuple(Input.from_dict(spec, free) for spec in data["inputs"]),
                outputs=tuple(Output.from_dict(spec, free) for spec in data["outputs"]),
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
        names: list[Any] = [spec.name for spec in (*self.inputs, *self.outputs)]
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
            spec.validate()
        axes = [(spec.name, spec.axes) for spec in self.inputs]
        sizes.check_sizes(self.sizes, axes, [spec.axes for spec in self.outputs])
        files = {spec.sample.file for spec in self.inputs if spec.sample.file}
        if len({file.casefold() for file in files}) != len(files):
            raise InputError(f"{sorted(files)} are one file on systems that ignore case")
        for spec in self.outputs:
            spec.validate()
