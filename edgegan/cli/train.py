"""`edgegan train`: train a recipe's teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgegan.cli.console import output, say, say_json
from edgegan.cli.progress import Steps


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe's folder, as recipes/cifar10.")],
    data: Annotated[
        Path | None,
        typer.Option(help="What is learnt from: a folder, a zip or an npz. By default the recipe's."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default runs/<recipe>-teacher.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Train a recipe's teacher.

    Training that was stopped goes on where it was when the same command is given again. Copy the weights into
    the recipe's folder once they are good enough.
    """
    with Steps(output(quiet=json)) as steps:
        steps.start("loading")
        from edgegan.train.run import train_teacher

        trained = train_teacher(recipe, data=data, out=out, progress=steps.start("train"))
    named = {name: getattr(trained, name) for name in ("generator", "discriminator", "log")}
    files = {name: str(file) for name, file in named.items() if file is not None}
    if json:
        told = {"fid": trained.fid, "held_out": dict(trained.held_out), "troubles": trained.troubles}
        say_json({**files, **told})
        return
    for trouble in trained.troubles:
        say(trouble)
    for name, file in files.items():
        say(f"{name}: {file}")
    if trained.fid is not None:
        say(f"FID: {trained.fid:.3g}")
    for name, value in trained.held_out.items():
        say(f"{name}, on pairs held out: {value:.4g}")
