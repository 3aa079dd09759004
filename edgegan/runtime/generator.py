"""The generator of a bundle, ready to make images."""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import EngineFallback, InputError, ModelError
from edgegan.runtime import tiles
from edgegan.runtime.bundle import Bundle
from edgegan.runtime.contract import Arrays, Contract, Input, Output
from edgegan.runtime.engines.base import Engine, Port
from edgegan.runtime.given import Look, as_input, rows, warn_of_range
from edgegan.runtime.numbers import number_of_samples, whole
from edgegan.runtime.sizes import Axes, check_bounds, resized, write_shape

Tiling = int | Mapping[str, int]
"""The size of tiles, or that along each free size by its name."""

_AT_ONCE = 16
"""Samples that go through the engine together; more are run in turns, so that memory stays bounded."""


class Generator:
    """A model and its contract: latents in, images out.

        with Generator.load("bundle") as generator:
            images = generator(n=4, seed=0, label=3)

    Args:
        engine: a loaded model; `close` closes it.
        contract: what the model takes and gives.
        engine_notes: where the engine is not the one that was asked for, why.

    Raises:
        ModelError: the model's inputs and outputs are not those of the contract.
    """

    def __init__(self, engine: Engine, contract: Contract, engine_notes: tuple[str, ...] = ()) -> None:
        _check_ports(engine, contract)
        self.engine = engine
        self.contract = contract
        self.engine_notes = engine_notes
        self._specs = {spec.name: spec for spec in contract.inputs}
        self._looks = {} if contract.sizes else {spec.name: Look.of(spec) for spec in contract.inputs}
        self._shapes: dict[tuple[str, int], list[tuple[int, ...]]] = {}
        """What shapes a sample of an output may have, by the output's name and type."""

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        *,
        engine: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        trust_engines: bool = False,
    ) -> Generator:
        """Verify a bundle and load a model of it.

        Args:
            bundle: the folder.
            engine: "onnxruntime" and "openvino" run on the CPU. "tensorrt" runs on the GPU, with the bundle's
                engine for this machine or one that is built now. "auto" is TensorRT where the bundle has an
                engine for this machine and `trust_engines` is set; else the engine that the bundle's default
                was found on, or another that is installed. What could not be as asked is warned of with
                `EngineFallback`, and kept in `engine_notes`. `edgegan doctor` lists what there is.
            precision: the name of one of the bundle's models, such as "fp32"; by default the one that suits
                the engine and this machine best (`edgegan.runtime.artifact.choose`).
            threads: of an engine on the CPU; by default one for each processor that this process may use.
            trust_engines: load the engines in the bundle. An engine is native code, which the bundle's
                checksums say nothing good of: set it where you built them yourself, or trust who did.

        Raises:
            BundleError: the bundle is damaged, of an unknown schema, or unsafe.
            InputError: there is no such engine or model, or no model for this engine.
            ModelError: the engine cannot load the model, or the model does not fit the contract.
            MissingDependency: the engine is not installed.
        """
        from edgegan.runtime.engine_choice import load_engine

        opened = Bundle.open(bundle)
        try:
            loaded, notes = load_engine(opened, engine, precision, threads, trust_engines=trust_engines)
            generator = cls(loaded, opened.contract, notes)
        except ModelError as error:
            raise ModelError(error.what, where=str(opened.folder), next=error.next) from error
        for note in notes:
            warnings.warn(EngineFallback(note), stacklevel=2)
        return generator

    def __call__(
        self, /, n: int | None = None, seed: int = 0, tile: Tiling | None = None, **inputs: Any
    ) -> Any:
        """Make `n` samples; the same arguments give the same samples.

        Args:
            n: how many; by default as many as the inputs given hold, or 1.
            seed: inputs that are not given are drawn from it as the contract says, 0 or more. The first
                samples of a larger `n` are those of a smaller one, but for rounding in the engine.
            tile: where sizes are free: run inputs that are larger in tiles of this size, or of {"H": 512,
                "W": 768}. What comes out is the whole's, but for rounding in the engine; memory is that of a
                tile, beside the input and the encoded output.
            inputs: by the contract's names: an array of shape (n, *shape), or one value for all where the
                shape of a sample is (), as in `label=3`; labels, too, where the input is one-hot. Pictures
                in uint8 are scaled to the input's range, as stored inputs are; floats are taken as they are,
                and `OutOfRange` warns of those that are far from all that the contract draws. Free axes may
                have any size within the contract's bounds: what is no multiple of what the model takes is
                padded by mirroring, and the output cropped.

        Returns:
            The only output, or a dictionary of all outputs by name, each encoded as its modality says: an
            image is uint8 (n, height, width, channels), audio int16 (n, samples, channels), video uint8 (n,
            frames, height, width, channels), a class map and tokens int32 ids, all else float32 (n, *shape).

        Raises:
            InputError: the arguments do not fit the contract.
            ModelError: the model failed, or gave what the contract does not promise.
        """
        outputs = self._made(n, seed, tile, inputs)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def outputs(
        self, /, n: int | None = None, seed: int = 0, tile: Tiling | None = None, **inputs: Any
    ) -> Arrays:
        """Make `n` samples as a call does, and return all outputs by name, even where there is one."""
        return self._made(n, seed, tile, inputs)

    def _made(self, n: int | None, seed: int, tile: Tiling | None, inputs: dict[str, Any]) -> Arrays:
        if "tile" in self._specs:
            inputs, tile = {**inputs, "tile": tile}, None
        try:
            arrays, contract = self._inputs(n, seed, inputs, tiled=tile is not None)
            count = len(next(iter(arrays.values())))
            at_once = self._at_once(contract)
            if count <= at_once:
                return self._run(arrays, count, contract, tile)
            turns = [
                self._run(
                    {name: array[start : start + at_once] for name, array in arrays.items()},
                    min(at_once, count - start),
                    contract,
                    tile,
                )
                for start in range(0, count, at_once)
            ]
            return {name: np.concatenate([turn[name] for turn in turns]) for name in turns[0]}
        except MemoryError as error:
            less = "; or for tiles, as in tile=512" if self.contract.sizes else ""
            raise InputError(
                f"{n} samples do not fit in memory", next=f"ask for fewer at a time{less}"
            ) from error

    def chunks(self, chunk: int, /, n: int | None = None, seed: int = 0, **inputs: Any) -> Iterator[Any]:
        """Yield what a call returns, piece after piece along the contract's only free size.

        Joined along the output's free axis the pieces are the whole, as those of tiles are.

        Args:
            chunk: how much of the input goes through the model at a time, its neighbours' part included.
            n: see `__call__`.
            seed: see `__call__`.
            inputs: see `__call__`.

        Raises:
            InputError: there is no free size or more than one, or see `__call__`.
            ModelError: see `__call__`.
        """
        if len(self.contract.sizes) != 1:
            raise InputError("chunks are for generators of one free size", next="call it with tile=512")
        arrays, contract = self._inputs(n, seed, inputs, tiled=True)
        count = len(next(iter(arrays.values())))
        for piece, tile in self._tiles(arrays, count, contract, chunk):
            made: Arrays = {}
            for spec in contract.outputs:
                part = piece[spec.name][tiles.taken(*_turned(spec, piece[spec.name]), tile)]
                made[spec.name] = self._encoded(replace(spec, shape=part.shape[1:]), part)
            yield next(iter(made.values())) if len(made) == 1 else made

    def close(self) -> None:
        """Free the engine; the generator cannot be called again."""
        self.engine.close()

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _inputs(
        self, n: int | None, seed: int, given: dict[str, Any], *, tiled: bool
    ) -> tuple[Arrays, Contract]:
        """Return all inputs, and the contract at the sizes that they have."""
        specs, contract = self._specs, self.contract
        if n is None and self._pass(given):
            whole(seed, "the seed", 0)
            return given, contract
        values: Arrays = {}
        for name, value in given.items():
            if name not in specs:
                raise InputError(f"the model has no input {name!r}", next=_suggestion(name, list(specs)))
            if value is not None:
                values[name] = as_input(specs[name], value)
        if n is None:
            n = next((len(array) for array in values.values() if array.ndim), 1)
        n, seed = number_of_samples(n), whole(seed, "the seed", 0)
        if contract.sizes:
            sizes = contract.sizes_of(values)
            check_bounds(contract.sizes, sizes, tiled=tiled)
            contract = contract.at(sizes)
        drawn = contract.sample(n, seed, without=values) if len(values) < len(specs) else {}
        arrays = {
            name: rows(spec, values[name], n) if name in values else drawn[name]
            for name, spec in specs.items()
        }
        if not values:
            return arrays, contract
        contract.check_inputs(arrays)
        if len(arrays[next(iter(arrays))]) != n:
            raise InputError(f"the inputs hold {len(arrays[next(iter(arrays))])} samples, not n = {n}")
        for name in values:
            warn_of_range(contract, specs[name], arrays[name], stacklevel=5)
        return arrays, contract

    def _pass(self, given: Mapping[str, Any]) -> bool:
        """Tell whether all inputs are given, as arrays of one batch that need no more than a look."""
        if given.keys() != self._looks.keys():
            return False
        for name, look in self._looks.items():
            if not look.passes(given[name]):
                return False
        counts = set(map(len, given.values()))
        return len(counts) == 1 and 0 not in counts

    def _at_once(self, contract: Contract) -> int:
        """Return how many samples go through the engine together: fewer where they are larger than usual."""
        if contract is self.contract:
            return _AT_ONCE
        ratio = math.prod(size.nominal for size in contract.sizes) / math.prod(self.contract.nominal.values())
        return max(1, min(_AT_ONCE, int(_AT_ONCE / ratio)))

    def _run(self, inputs: Arrays, n: int, contract: Contract, tile: Tiling | None = None) -> Arrays:
        if tile is not None:
            return self._joined(inputs, n, contract, tile)
        padded = _padded(contract) if contract.sizes else contract
        results = self.engine(_grown(inputs, padded) if padded is not contract else inputs)
        made: Arrays = {}
        for spec, larger in zip(contract.outputs, padded.outputs):
            array = results[spec.name]
            self._check_output(larger, array, n)
            if larger.shape != spec.shape:
                shape = next(shape for shape in spec.modality.shapes(spec, str(array.dtype)))
                array = array[(slice(None), *(slice(length) for length in shape))]
            made[spec.name] = self._encoded(spec, array)
        return made

    def _tiles(
        self, inputs: Arrays, n: int, contract: Contract, tile: Tiling
    ) -> Iterator[tuple[Arrays, tiles.Tile]]:
        """Yield what comes out of each tile of inputs that are padded."""
        if not contract.sizes:
            raise InputError("tiles are for generators whose sizes are free", next="leave `tile` out")
        padded = _padded(contract)
        grown = _grown(inputs, padded)
        for part in tiles.tiles(padded, padded.nominal, tile):
            within = padded.at({name: span.stop - span.start for name, span in part.items()})
            results = self.engine(tiles.cut(padded, grown, part))
            for spec in within.outputs:
                self._check_output(spec, results[spec.name], n)
            yield results, part

    def _joined(self, inputs: Arrays, n: int, contract: Contract, tile: Tiling) -> Arrays:
        made: Arrays = {}
        floats: list[str] = []
        for piece, part in self._tiles(inputs, n, contract, tile):
            for spec in contract.outputs:
                array = piece[spec.name]
                axes, shape = _turned(spec, array)
                kept, found = tiles.kept(axes, shape, part), array[tiles.taken(axes, shape, part)]
                levels = spec.modality.levels(spec)
                if levels is not None and array.dtype != np.uint8:
                    found = self._encoded(spec, found)
                    shape = levels.shape(spec.shape)
                    kept = tuple(kept[axis] for axis in levels.order)
                elif levels is None:
                    floats.append(spec.name)
                if spec.name not in made:
                    made[spec.name] = np.empty((n, *shape), found.dtype)
                made[spec.name][kept] = found
        return {
            spec.name: self._encoded(spec, made[spec.name]) if spec.name in floats else made[spec.name]
            for spec in contract.outputs
        }

    def _check_output(self, spec: Output, array: NDArray[Any], n: int) -> None:
        key = (spec.name, array.dtype.num)
        if self.contract.sizes or key not in self._shapes:
            self._shapes[key] = spec.modality.shapes(spec, str(array.dtype))
        if array.shape[:1] != (n,) or array.shape[1:] not in self._shapes[key]:
            raise ModelError(
                f"output {spec.name!r} came as {array.dtype} {array.shape}, not as the contract says",
                where=f"output {spec.name!r}",
                next="export the model with the contract's shapes and a free batch axis (N)",
            )

    def _encoded(self, spec: Output, array: NDArray[Any]) -> NDArray[Any]:
        try:
            return spec.modality.encode(array, spec)
        except InputError as error:
            raise ModelError(error.what, where=f"output {spec.name!r}", next=error.next) from error


def _padded(contract: Contract) -> Contract:
    """Return the contract at the sizes that the model is run at."""
    if not contract.sizes:
        return contract
    lengths = {size.name: size.padded(size.nominal) for size in contract.sizes}
    return contract if lengths == contract.nominal else contract.at(lengths)


def _grown(inputs: Arrays, padded: Contract) -> Arrays:
    return {
        spec.name: resized(inputs[spec.name], spec.shape) if spec.axes else inputs[spec.name]
        for spec in padded.inputs
    }


def _turned(spec: Output, array: NDArray[Any]) -> tuple[Axes, tuple[int, ...]]:
    """Return the axes and shape of an output, as they lie in an array that may be encoded already."""
    levels = spec.modality.levels(spec)
    if levels is None or array.dtype != np.uint8:
        return spec.axes, spec.shape
    axes = tuple(spec.axes[axis - 1] for axis in levels.order[1:]) if spec.axes else ()
    return axes, levels.shape(spec.shape)


def _check_ports(engine: Engine, contract: Contract) -> None:
    for kind, specs, ports in (
        ("inputs", contract.inputs, engine.inputs),
        ("outputs", contract.outputs, engine.outputs),
    ):
        names = sorted(spec.name for spec in specs)
        if names != sorted(ports):
            raise ModelError(
                f"the model's {kind} are {sorted(ports)}, the contract's {names}",
                next="export the model with the contract's names",
            )
    for spec in contract.inputs:
        port = engine.inputs[spec.name]
        fits = _fits(port, spec.shape) and _is_free(port, spec.axes)
        if port.dtype != spec.dtype or not fits or port.shape[0] is not None:
            raise ModelError(
                f"the model's input {spec.name!r} is {port.dtype} {_text(port.shape)}, "
                f"the contract's {spec.dtype} {_written(spec)}",
                next="export the model with the contract's shapes and a free batch axis (N)",
            )
    for spec in contract.outputs:
        port = engine.outputs[spec.name]
        if not any(_fits(port, shape) for shape in spec.modality.shapes(spec, port.dtype)):
            raise ModelError(
                f"the model's output {spec.name!r} is {port.dtype} {_text(port.shape)}, "
                f"the contract's {_written(spec)}",
                next="export the model with the contract's shapes; images are float NCHW or uint8 NHWC",
            )


def _fits(port: Port, shape: tuple[int, ...]) -> bool:
    """Tell whether a sample of `shape` fits the port, as far as its sizes are known."""
    sizes = port.shape[1:]
    known = all(mine in (None, size) for mine, size in zip(sizes, shape))
    return len(port.shape) == len(shape) + 1 and known


def _is_free(port: Port, axes: Axes) -> bool:
    """Tell whether the port's sizes are free where the contract's are."""
    return all(size is None for size, axis in zip(port.shape[1:], axes) if axis)


def _written(spec: Input | Output) -> str:
    return f"({', '.join(map(str, ('N', *write_shape(spec.shape, spec.axes))))})"


def _text(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("N" if size is None else str(size) for size in shape) + ")"


def _suggestion(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]!r}?" if close else f"the inputs are {', '.join(names)}"
