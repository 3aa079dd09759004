"""`edgegan targets`: the devices that edgegan knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from edgegan.cli.console import output, say, say_json

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
        say_json(shown)
    elif chosen:
        for line in _lines(chosen):
            say(line)
    else:
        console = output()
        console.print(_table(all_targets(), console.width))


def _plain(target: Target) -> dict[str, object]:
    return target.model_dump(mode="json", by_alias=True, exclude_none=True)


def _table(shown: list[Target], width: int) -> Table:
    """Return a table of a line a target; a narrow one leaves out what `targets NAME` shows too."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    columns = [title for title in COLUMNS if width >= WIDE or title not in ("arch", "GB/s")]
    for title in columns:
        table.add_column(title, justify="right" if title in ("GiB", "GB/s", "TOPS") else "left", no_wrap=True)
    for target in shown:
        table.add_row(*(COLUMNS[title](target) for title in columns))
    table.caption = "~ unverified: read second-hand. w8: 8-bit weights. TOPS: INT8, dense, GPU alone."
    table.caption_justify = "left"
    return table


def _short_scheme(target: Target) -> str:
    scheme = target.int8
    if not scheme:
        return ""
    return f"{scheme.activations} w{scheme.weight_bits}" + (" sym" if scheme.symmetric else "")


def _scheme(target: Target) -> str:
    scheme = target.int8
    if not scheme:
        return ""
    return f"{scheme.activations}, {scheme.weight_bits}-bit weights" + (
        ", symmetric" if scheme.symmetric else ""
    )


def _number(figure: Figure | None) -> str:
    return f"{'~' if figure.unverified else ''}{figure.value:g}" if figure else ""


COLUMNS: dict[str, Callable[[Target], str]] = {
    "target": lambda target: target.name,
    "engine": lambda target: target.engine,
    "arch": lambda target: target.arch,
    "INT8": _short_scheme,
    "GiB": lambda target: _number(target.hardware.memory_gib),
    "GB/s": lambda target: _number(target.hardware.memory_gb_s),
    "TOPS": lambda target: _number(target.hardware.int8_tops),
    "JetPack": lambda target: ", ".join(release.version for release in target.jetpack),
}
WIDE = 100


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
