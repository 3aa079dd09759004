"""`edgegan report`: write the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgegan.cli.console import say, say_json
from edgegan.report import write_report


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/cifar10.")],
    json: Annotated[bool, typer.Option("--json", help="Print where it is as JSON.")] = False,
) -> None:
    """Write RUN/report.html: what a run achieved, on one page that needs no network."""
    page = str(write_report(run))
    if json:
        say_json({"report": page})
    else:
        say(page)
