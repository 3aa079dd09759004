"""`edgegan lint`: what will not compress or deploy well, before any training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgegan.cli.console import output, say, say_json
from edgegan.cli.progress import Steps

if TYPE_CHECKING:
    from edgegan.compress.lint import Finding


def lint(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe's folder, as recipes/cifar10.")],
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what will not prune, quantize or deploy well, before any training.

    Exits with 2 where there is an error among the findings.
    """
    console = output(quiet=json)
    with Steps(console) as steps:
        steps.start("lint")
        findings = _findings(recipe)
    if json:
        say_json([asdict(finding) for finding in findings])
    else:
        from edgegan.cli.display import show_findings

        show_findings(console, findings)
        if not findings:
            say("nothing stands in the way")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)


def _findings(recipe: Path) -> list[Finding]:
    from edgegan.compress.generator import load_generator
    from edgegan.compress.lint import lint as find
    from edgegan.compress.stages import build_stages, renamed_settings
    from edgegan.recipe import Recipe

    read = Recipe.read(recipe)
    stages = build_stages(read)
    read.contract.check_stored()
    module, said = load_generator(read.model, read.contract, read.folder)
    return [*find(module, read.contract, stages=stages), *said, *renamed_settings(read)]
