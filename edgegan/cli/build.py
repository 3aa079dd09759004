"""`edgegan build`: TensorRT engines for this machine, into a bundle."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from edgegan.cli.console import say, say_json
from edgegan.errors import InputError


def build(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")],
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Of which model; may be repeated. By default the one that TensorRT is to run."),
    ] = None,
    batches: Annotated[
        str, typer.Option(help="The least, the best and the largest batch.", metavar="MIN,BEST,MAX")
    ] = "1,1,16",
    json: Annotated[bool, typer.Option("--json", help="Print what was built as JSON.")] = False,
) -> None:
    """Build TensorRT engines for this machine from BUNDLE's models, into it."""
    from edgegan.runtime.engines.tensorrt.bundle_engines import build_engines

    built = build_engines(bundle, precision, batches=_three(batches))
    if json:
        say_json([_data(stored) for stored in built])
        return
    for stored in built:
        entry, engine = stored.entry, stored.built
        place = (
            f"{entry.gpu} ({entry.compute_capability})" if entry.gpu else "any RTX GPU from the 30 series on"
        )
        say(f"built {entry.file}, {len(engine.plan):,} bytes: {entry.module} {entry.version}, for {place}")
        say(f"  layers: {', '.join(f'{count} {name}' for name, count in _counts(engine).items())}")
        for warning in engine.warnings:
            say(f"  warning: {warning}")
    generate = shlex.join(["edgegan", "generate", str(bundle), "--trust-engines"])
    say(f"engines are programs, loaded only on request:  {generate}")


def _three(text: str) -> tuple[int, int, int]:
    try:
        least, best, largest = (int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"batches must be three whole numbers, not {text!r}", next="as in --batches 1,1,16"
        ) from error
    return least, best, largest


def _data(stored: Any) -> dict[str, Any]:
    from dataclasses import asdict

    engine = stored.built
    return {
        **asdict(stored.entry),
        "bytes": len(engine.plan),
        "strongly_typed": engine.strongly_typed,
        "layers": _counts(engine),
        "warnings": engine.warnings,
    }


def _counts(engine: Any) -> dict[str, int]:
    """Return type to how many of the engine's layers compute in it, those without inputs left out."""
    types = [layer.precision for layer in engine.layers if layer.precision]
    return {name: types.count(name) for name in dict.fromkeys(types)}
