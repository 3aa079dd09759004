"""`edgegan train-features`: a feature extractor of one's own data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgegan.cli.console import output, say, say_json
from edgegan.cli.progress import Steps


def train_features(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled images: a folder, a zip or an npz.")],
    out: Annotated[Path, typer.Option(help="The folder of features.onnx and reference.npz.")] = Path(
        "features"
    ),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the images.")] = 30,
    width: Annotated[int, typer.Option(min=8, help="How many features, a multiple of 8.")] = 256,
    mirror: Annotated[
        bool, typer.Option(help="Mirror half of the images; letters and digits do not bear it.")
    ] = True,
    kept: Annotated[
        int, typer.Option(min=2, help="Images whose features are kept, for KID, precision and recall.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights and of the order of images.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Train a feature extractor on labelled images.

    Writes it as ONNX, with the statistics of the images: what a recipe's `quality` names.
    """
    with Steps(output(quiet=json)) as steps:
        steps.start("loading")
        from edgegan.train.data import read_images
        from edgegan.train.features import train_features as fit

        images = read_images(data)
        trained = fit(
            images,
            out,
            epochs=epochs,
            width=width,
            mirror=mirror,
            kept=kept,
            seed=seed,
            description=data.name,
            progress=steps.start("train-features"),
        )
    if json:
        say_json(
            {**asdict(trained), "extractor": str(trained.extractor), "reference": str(trained.reference)}
        )
        return
    say(f"extractor: {trained.extractor}  ({trained.features} features, {trained.accuracy:.1%} accuracy)")
    say(f"reference: {trained.reference}")
