"""`edgegan compress`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgegan.cli.console import output, say_json
from edgegan.cli.progress import Steps
from edgegan.processes import is_first_process


def compress(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe's folder, as recipes/cifar10.")],
    profile: Annotated[
        str | None, typer.Option(help="Whose overrides to apply; by default the recipe's first.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; by default runs/<recipe>.")] = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage.")] = None,
    latency_seconds: Annotated[
        float | None,
        typer.Option(help="How long each row's latency is measured; 3 s, or as the recipe says."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET", help="A device to write INT8 for, in place of the recipe's; repeatable."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Compress a recipe's generator, measure the result and bundle it.

    A run that was stopped, however it was, goes on where it was when the same command is given again.
    """
    console = output(quiet=json or not is_first_process())
    with Steps(console) as steps:
        steps.start("loading")
        from edgegan.cli.display import Display
        from edgegan.compressor import compress_generator

        run = compress_generator(
            recipe,
            profile=profile,
            out=out,
            until=until,
            latency_seconds=latency_seconds,
            targets=target or (),
            follower=Display(steps),
        )
    result: dict[str, Any] = {
        "run": str(run.folder),
        "stages": list(run.stages),
        "bundle": str(run.bundle) if run.bundle else None,
        "report": str(run.report) if run.report else None,
        "figures": run.figures.to_dict() if run.figures else None,
        "next": run.following,
    }
    if json:
        say_json(result)
        return
    if run.figures:
        from edgegan.report.table import rows_table

        console.print(rows_table(run.figures))
    for name in ("run", "bundle", "report", "next"):
        if result[name]:
            console.print(f"{name}: {result[name]}", soft_wrap=True)
