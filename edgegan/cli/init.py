"""`edgegan init`: a recipe from a class and a checkpoint."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from edgegan.cli.console import output, say_json
from edgegan.cli.progress import Steps
from edgegan.errors import InputError


def init(
    network: Annotated[
        str, typer.Argument(metavar="FILE.py:Class", help="The network, by its file and class.")
    ],
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Its trained weights.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The recipe's folder; by default recipes/<name>.")
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An argument of the constructor, as width=64; repeatable."),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Real pictures, for a network that takes pictures.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Write a recipe for your own network. Runs FILE.py, in a process under limits of time and memory.

    Exits with 2 where lint finds an error in the recipe.
    """
    arguments = dict(map(_argument, arg or ()))
    console = output(quiet=json)
    with Steps(console) as steps:
        steps.start("loading")
        from edgegan.init.recipe import init_recipe

        made = init_recipe(
            network, checkpoint, out=out, arguments=arguments, pictures=pictures, progress=steps.start
        )
    broken = any(finding.level == "error" for finding in made.findings)
    following = shlex.join(["edgegan", "lint" if broken else "compress", str(made.folder)])
    if json:
        say_json(
            {
                "recipe": str(made.folder),
                "notes": list(made.notes),
                "findings": [asdict(finding) for finding in made.findings],
                "next": following,
            }
        )
    else:
        from edgegan.cli.display import show_findings

        for note in made.notes:
            console.print(note, soft_wrap=True, style="yellow" if note in made.guesses else None)
        show_findings(console, made.findings, hidden=("info",))
        console.print(f"recipe: {made.folder / 'recipe.yaml'}", soft_wrap=True)
        console.print(f"next: look at its guesses, then {following}", soft_wrap=True)
    if broken:
        raise typer.Exit(2)


def _argument(text: str) -> tuple[str, Any]:
    from edgegan.plain_yaml import NotPlainYaml, parse_yaml

    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise InputError(f"--arg takes NAME=VALUE, not {text!r:.80}", next="as in --arg width=64")
    try:
        return name, parse_yaml(f"value: {value}")[1]["value"]
    except NotPlainYaml as error:
        raise InputError(f"--arg {name}: the value is no plain data: {error}") from error
