"""`edgegan inspect`: what a bundle holds."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgegan.cli.console import output, say, say_json
from edgegan.reading import Unreadable
from edgegan.runtime.sizes import write_shape

if TYPE_CHECKING:
    from edgegan.runtime.artifact import Artifact
    from edgegan.runtime.bundle import Bundle
    from edgegan.runtime.contract import Input, Output
    from edgegan.runtime.sizes import Size


def inspect(
    bundle: Annotated[
        Path,
        typer.Argument(metavar="BUNDLE", help="A bundle's folder, as runs/cifar10/bundle, or a recipe's."),
    ],
    int8: Annotated[
        bool, typer.Option("--int8", help="Show what really runs in INT8, layer by layer, instead.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON: the manifest, or with --int8 what runs in INT8.")
    ] = False,
) -> None:
    """Show what a bundle holds, how it was made, and its figures; verified first.

    Of a recipe, show what it names, without importing any of it.
    """
    if _is_recipe(bundle):
        from edgegan.cli import inspect_recipe

        found = inspect_recipe.findings(bundle)
        if json:
            say_json(found)
            return
        for line in inspect_recipe.shown(found):
            say(line)
        return
    from edgegan.runtime.bundle import Bundle

    opened = Bundle.open(bundle)
    manifest = opened.manifest
    if int8:
        _show_int8(opened, json)
        return
    if json:
        say_json(json_.loads(manifest.to_bytes()))
        return
    say(f"{manifest.name}, made by {manifest.created_by}; {len(manifest.files)} files, all as they were")
    for spec in manifest.contract.inputs:
        say(f"takes   {spec.name}: {spec.dtype} {_shape(spec)}, {spec.sample.kind}")
    for spec in manifest.contract.outputs:
        low, high = spec.range
        say(f"gives   {spec.name}: {_shape(spec)} in {low:g}..{high:g} {spec.modality.kind}")
    for size in manifest.contract.sizes:
        say(f"size    {_size(size)}")
    for artifact in manifest.artifacts:
        chosen = "  (default)" if artifact.name == manifest.default else ""
        size = manifest.files[artifact.file].bytes
        say(f"model   {artifact.name}: {artifact.file}, {size:,} bytes{_made_for(artifact)}{chosen}")
    for engine in manifest.engines:
        place = (
            f"{engine.gpu} ({engine.compute_capability})"
            if engine.gpu
            else "any RTX GPU from the 30 series on"
        )
        say(f"engine  {engine.artifact}: {engine.module} {engine.version}, for {place}")
    for record in manifest.lineage:
        say(f"stage   {record.get('stage')}: {_settings(record.get('settings'))}")
    if manifest.figures.get("rows"):
        from edgegan.report.table import rows_table
        from edgegan.run.figures import Figures

        try:
            figures = Figures.from_dict(manifest.figures, "figures")
        except Unreadable as error:
            say(f"figures not shown: {error}")
        else:
            output().print(rows_table(figures))


def _is_recipe(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml") or (
        (path / "recipe.yaml").is_file() and not (path / "manifest.json").exists()
    )


def _show_int8(bundle: Bundle, json: bool) -> None:
    from edgegan.cli.inspect_int8 import findings, shown

    found = findings(bundle)
    if json:
        say_json(found)
        return
    console = output()
    for part in shown(found):
        console.print(part, soft_wrap=isinstance(part, str))


def _made_for(artifact: Artifact) -> str:
    """Return for what an artifact was written, where it was for one thing only."""
    cpus = f" on {artifact.arch}" if artifact.arch else ""
    return f", for {artifact.engine}{cpus}" if artifact.engine else ""


def _shape(spec: Input | Output) -> str:
    return "(" + ", ".join(["N", *map(str, write_shape(spec.shape, spec.axes))]) + ")"


def _size(size: Size) -> str:
    multiple = f", padded to a multiple of {size.multiple}" if size.multiple > 1 else ""
    tiles = "" if size.halo is None else f"; tiles overlap by {2 * size.halo}"
    if size.no_tiles:
        tiles = f"; no tiles: {size.no_tiles}"
    return f"{size}, nominal {size.nominal}{multiple}{tiles}"


def _settings(settings: Any) -> str:
    if not isinstance(settings, dict):
        return "no settings"
    return ", ".join(f"{key}={value}" for key, value in settings.items()) or "no settings"
