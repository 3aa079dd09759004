"""`edgegan train`: train a recipe's teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgegan.cli.console import output
from edgegan.cli.steps import Steps


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe's folder, as recipes/cifar10.")],
    data: Annotated[
        Path | None, typer.Option(help="Labelled images: a folder, a zip or an npz. By default the recipe's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default runs/<recipe>-teacher.")
    ] = None,
) -> None:
    """Train a recipe's teacher.

    Training that was stopped goes on where it was when the same command is given again. Copy the weights into
    the recipe's folder once they are good enough.
    """
    from edgegan.train.run import train_teacher

    with Steps(output()) as steps:
        trained = train_teacher(recipe, data=data, out=out, progress=steps.start("train"))
    for name in ("generator", "discriminator", "log"):
        typer.echo(f"{name}: {getattr(trained, name)}")
    if trained.fid is not None:
        typer.echo(f"FID: {trained.fid:.3g}")
