"""`edgegan targets`: the devices that edgegan knows."""

from __future__ import annotations

import json as json_
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from edgegan.cli.console import output

if TYPE_CHECKING:
    from edgegan.target import Figure, JetPack, Target


def targets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A target's name, as jetson-orin-nano, or your own file's."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """List the devices that edgegan knows, or show one with its figures and sources."""
    from edgegan.target import Target
    from edgegan.target import targets as all_targets

    chosen = Target.read(name) if name else None
    if json:
        shown = _plain(chosen) if chosen else [_plain(target) for target in all_targets()]
        typer.echo(json_.dumps(shown, indent=2, ensure_ascii=False))
    elif chosen:
        console = output()
        for line in _lines(chosen):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    else:
        output().print(_table(all_targets()))


def _plain(target: Target) -> dict[str, object]:
    return target.model_dump(mode="json", by_alias=True, exclude_none=True)


def _table(shown: list[Target]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for title in ("target", "engine", "arch", "INT8"):
        table.add_column(title, no_wrap=True)
    for title in ("GiB", "GB/s", "INT8 TOPS"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("JetPack", no_wrap=True)
    for target in shown:
        hardware = target.hardware
        table.add_row(
            target.name,
            target.engine,
            target.arch,
            _scheme(target),
            *map(_number, (hardware.memory_gib, hardware.memory_gb_s, hardware.int8_tops)),
            ", ".join(release.version for release in target.jetpack),
        )
    table.caption = "~ unverified: read second-hand. TOPS are dense, of the GPU alone."
    table.caption_justify = "left"
    return table


def _scheme(target: Target) -> str:
    scheme = target.int8
    if not scheme:
        return ""
    return f"{scheme.activations}, {scheme.weight_bits}-bit weights" + (
        ", symmetric" if scheme.symmetric else ""
    )


def _number(figure: Figure | None) -> str:
    return f"{'~' if figure.unverified else ''}{figure.value:g}" if figure else ""


def _lines(target: Target) -> Iterator[str]:
    numbers = {key: f"[{number}]" for number, key in enumerate(target.sources, 1)}
    yield f"{target.name}: {target.description}"
    yield f"engine      {target.engine} on {target.arch}"
    yield f"precisions  {', '.join(target.precisions)}; channels in multiples of {target.align}"
    if target.int8:
        yield f"INT8        {_scheme(target)}; the rest in {target.int8.rest}"
    if target.int8_use:
        yield f"            {target.int8_use}"
    for block, mode in ((target.hardware, ""), (target.super_mode, "MAXN SUPER ")):
        for key, figure in block.figures().items() if block else ():
            note = f" ({figure.note})" if figure.note else ""
            doubt = " unverified" if figure.unverified else ""
            yield f"figure      {mode}{key} = {figure.value:g}{note} {numbers[figure.source]}{doubt}"
    for release in target.jetpack:
        yield f"JetPack     {_release(release)} " + "".join(numbers[key] for key in release.sources)
    for note in target.notes:
        yield f"note        {note.text} {numbers[note.source] if note.source else ''}".rstrip()
    for key, source in target.sources.items():
        yield f"{numbers[key]:<4} {source.title} {source.url}".rstrip()


def _release(release: JetPack) -> str:
    typing = "strongly typed" if release.strongly_typed else "weakly typed only"
    doubt = f"; unverified: {release.note}" if release.unverified else ""
    return (
        f"{release.version}: Jetson Linux {release.l4t}, TensorRT {release.tensorrt} ({typing}), "
        f"CUDA {release.cuda}, Python {release.python}{doubt}"
    )
