"""`edgegan lint`: what will not compress or deploy well, before any training."""

from __future__ import annotations

import json as json_
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgegan.cli.console import output


def lint(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe's folder, as recipes/cifar10.")],
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what will not prune, quantize or deploy well, before any training.

    Exits with 2 where there is an error among the findings.
    """
    from edgegan.cli.display import show_findings
    from edgegan.compress.lint import lint as find
    from edgegan.compress.load import load_module
    from edgegan.compress.stages import build_stages
    from edgegan.recipe import Recipe

    read = Recipe.read(recipe)
    build_stages(read)
    read.contract.check_stored()
    findings = find(load_module(read.model, read.folder), read.contract)
    if json:
        typer.echo(json_.dumps([asdict(finding) for finding in findings]))
    else:
        show_findings(output(), findings)
        if not findings:
            typer.echo("nothing stands in the way")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)
