"""`edgegan doctor`: which engines this machine can run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from edgegan.cli.console import say, say_json

if TYPE_CHECKING:
    from edgegan.runtime.doctor import Check


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Say which engines this machine can run, and how to get the others.

    Exits with 2 where it can run none.
    """
    from edgegan.runtime.doctor import diagnose

    found = diagnose()
    if json:
        say_json(asdict(found))
    else:
        say(f"python       {found.python}, {found.system} {found.architecture}")
        say(f"cpu          {found.cpu.model}")
        say(f"INT8         {found.int8}")
        if found.cpu.board:
            say(f"board        {found.cpu.board}")
        if found.jetson_linux:
            say(f"Jetson Linux {found.jetson_linux}")
        say(f"GPU          {found.gpu or 'none that an NVIDIA driver shows'}")
        for check in found.engines:
            say(f"{check.engine:<12} {_says(check)}")
            if check.next:
                say(f"  next: {check.next}")
        say(f"targets      {', '.join(found.targets) or 'none of those that edgegan knows'}")
    if not found.healthy:
        raise typer.Exit(2)


def _says(check: Check) -> str:
    state = "runs" if check.runs else "builds only" if check.builds else "absent"
    return f"{state}: {check.version + ', ' if check.version else ''}{check.detail}"
