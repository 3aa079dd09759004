"""`edgegan generate`: make images with a bundle."""

from __future__ import annotations

import io
import os
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
import typer

from edgegan.cli.console import say, say_json
from edgegan.errors import EngineFallback, InputError, StorageError
from edgegan.files import write_bytes
from edgegan.runtime import Contract, Generator
from edgegan.runtime.contract import Arrays
from edgegan.runtime.grid import image_grid, write_png

if TYPE_CHECKING:
    from edgegan.runtime.engine_choice import EngineName

_SUFFIXES = (".png", ".npz", ".npy")


def generate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")],
    n: Annotated[int, typer.Option("--n", help="How many samples, 1 or more.")] = 16,
    seed: Annotated[int, typer.Option(help="What the inputs are drawn from, 0 or more.")] = 0,
    label: Annotated[
        int | None, typer.Option(help="The label of all samples; drawn from the seed where it is not given.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(help="auto, onnxruntime or tensorrt; auto takes what the bundle has for this machine."),
    ] = "auto",
    trust_engines: Annotated[
        bool,
        typer.Option(
            "--trust-engines", help="Load the bundle's engines, which are programs: for those that you built."
        ),
    ] = False,
    out: Annotated[
        Path,
        typer.Option(
            help="FILE.png: the images as a grid. FILE.npz: all outputs by name. FILE.npy: the only output."
        ),
    ] = Path("grid.png"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file where there is one.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
) -> None:
    """Make samples with BUNDLE and write them to a file. The same seed gives the same samples."""
    _check(out, bundle, overwrite)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EngineFallback)
        loaded = Generator.load(bundle, engine=cast("EngineName", engine), trust_engines=trust_engines)
    with loaded as generator:
        for note in generator.engine_notes:
            say(f"note: {note}", errors=True)
        labels = _labels(generator.contract, label)
        started = time.perf_counter()
        outputs = generator.outputs(n, seed, **labels)
        seconds = time.perf_counter() - started
        _write(out, outputs, generator.contract)
        ran = generator.engine.name
    if not json:
        say(f"wrote {n} samples to {out} ({ran}, {seconds:.2f} s)")
        return
    made = {
        "out": str(out),
        "n": n,
        "seed": seed,
        "label": label,
        "outputs": {
            name: {"shape": value.shape, "dtype": value.dtype.name} for name, value in outputs.items()
        },
        "engine": ran,
        "engine_notes": generator.engine_notes,
        "seconds": round(seconds, 6),
    }
    say_json(made)


def _check(out: Path, bundle: Path, overwrite: bool) -> None:
    if out.suffix not in _SUFFIXES:
        raise InputError(
            f"cannot write {out.suffix or 'a file without a suffix'}",
            where=str(out),
            next=f"give --out a name that ends in {', '.join(_SUFFIXES)}",
        )
    if bundle.resolve() in out.resolve().parents:
        raise InputError(
            "a bundle holds what made it, and nothing else", where=str(out), next="give another --out"
        )
    if os.path.lexists(out) and not (overwrite and out.is_file()):
        raise StorageError(
            "there is a file of this name", where=str(out), next="give another --out, or --overwrite"
        )


def _labels(contract: Contract, label: int | None) -> dict[str, int]:
    if label is None:
        return {}
    axes = {"labels": 0, "one_hot": 1}
    names = [spec.name for spec in contract.inputs if axes.get(spec.sample.kind) == len(spec.shape)]
    if len(names) != 1:
        raise InputError(
            f"--label needs a generator with one label input, and this one has {len(names)}",
            next="leave --label out, or call edgegan.runtime.Generator with labels by name",
        )
    return {names[0]: label}


def _write(out: Path, outputs: Arrays, contract: Contract) -> None:
    if out.suffix == ".png":
        images = [outputs[spec.name] for spec in contract.outputs if spec.layout == "CHW"]
        if not images:
            raise InputError("the generator makes no images", where=str(out), next="give --out FILE.npz")
        write_png(out, image_grid(images[0]))
        return
    content = io.BytesIO()
    if out.suffix == ".npz":
        arrays: dict[str, Any] = dict(outputs)
        np.savez(content, **arrays)
    elif len(outputs) == 1:
        np.save(content, next(iter(outputs.values())), allow_pickle=False)
    else:
        raise InputError(
            f"the generator has {len(outputs)} outputs", where=str(out), next="give --out FILE.npz"
        )
    write_bytes(out, content.getvalue())
