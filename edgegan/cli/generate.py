"""`edgegan generate`: make samples with a bundle."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from typing import Annotated

import typer

from edgegan.cli.console import say, say_json
from edgegan.errors import EngineFallback, InputError, StorageError
from edgegan.runtime import Contract, Generator
from edgegan.runtime.modality import files


def generate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")],
    n: Annotated[
        int | None,
        typer.Option("--n", help="How many samples; by default 16."),
    ] = None,
    seed: Annotated[int, typer.Option(help="What the inputs are drawn from, 0 or more.")] = 0,
    label: Annotated[
        int | None, typer.Option(help="The label of all samples; drawn from the seed where it is not given.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="PATH",
            help="A picture for a generator that takes one, or a folder of them.",
        ),
    ] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Scale and crop pictures to the size that the bundle takes.")
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Run larger pictures in tiles of this size: the same result in less memory, where the model "
            "has tiles. `edgegan inspect` says.",
        ),
    ] = None,
    artifact: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which of the bundle's files to run, as int8.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Of an engine on the CPU; one a processor by default.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(help="auto, or one that `edgegan doctor` lists."),
    ] = "auto",
    trust_engines: Annotated[
        bool,
        typer.Option(
            "--trust-engines", help="Load the bundle's engines, which are programs: for those that you built."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.png: pictures in a grid. FILE.wav, .gif, .csv: sound, video, series. FILE.npz: all "
            "outputs by name. FILE.npy: the only output. By default what suits the generator, as grid.png."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file where there is one.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
) -> None:
    """Make samples with BUNDLE and write them to a file. The same seed gives the same samples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EngineFallback)
        loaded = Generator.load(
            bundle,
            engine=engine,
            precision=artifact,
            threads=threads,
            trust_engines=trust_engines,
        )
    with loaded as generator:
        for note in generator.engine_notes:
            say(f"note: {note}", errors=True)
        labels = _labels(generator.contract, label)
        started, outputs = time.perf_counter(), {}
        if source is None:
            n, target = 16 if n is None else n, out or Path(files.default_name(generator.contract))
            _check(files.paths(target, generator.contract, n), bundle, overwrite)
            outputs = generator.outputs(n, seed, tile, **labels)
            written = files.write(target, outputs, generator.contract)
        elif n is not None:
            raise InputError("--n is for samples that are drawn, not for pictures", next="leave --n out")
        else:
            from edgegan.cli.generate_input import each_picture, targets

            pairs = targets(source, out, generator.contract)
            _check([target for _, target in pairs], bundle, overwrite)
            n, target, written = len(pairs), out or pairs[0][1].parent, []
            for path, outputs in each_picture(
                generator, [path for path, _ in pairs], resize, tile, seed, labels
            ):
                written += files.write(dict(pairs)[path], outputs, generator.contract)
        seconds = time.perf_counter() - started
        ran = generator.engine.name
    if not json:
        last = f" to {written[-1]}" if len(written) > 1 else ""
        say(f"wrote {n} samples to {written[0]}{last} ({ran}, {seconds:.2f} s)")
        return
    made = {
        "out": str(target),
        "files": list(map(str, written)),
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


def _check(targets: list[Path], bundle: Path, overwrite: bool) -> None:
    for out in targets:
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
