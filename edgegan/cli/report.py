"""`edgegan report`: write the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgegan.report import write_report


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/cifar10.")],
) -> None:
    """Write RUN/report.html: what a run achieved, on one page that needs no network."""
    typer.echo(write_report(run))
