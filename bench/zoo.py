"""Generator architectures of the field, each through the whole chain.

    python bench/zoo.py [NAME ...]

Writes bench/zoo.json and bench/zoo.md. The architectures are those of bench/zoo_models: small modules after
public designs, with random weights that were settled (see `settle`). Each has a process of its own, with
bounds of time and memory. What was made with this very code before is not made again; NAMEs are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from made_with import EDGEGAN, ROOT, made_with
from torch import nn
from zoo_models.ports import Architecture
from zoo_steps import go_through
from zoo_table import markdown

from edgegan import __version__
from edgegan.files import write_json, write_text
from edgegan.measure.machine import machine

FAMILIES = (
    *("dcgan", "residual", "style", "transformer", "translation"),
    *("restoration", "audio", "motion", "series"),
)
FILES = ROOT / "runs" / "bench-zoo"
SOURCES = (*EDGEGAN, "bench/zoo*.py", "bench/zoo_models/*.py")
SECONDS, GIBIBYTES = 900, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of architectures to take anew")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        write_json(given.alone / "row.json", go_through(zoo()[given.names[0]], given.alone))
        return
    rows = [row(one, anew=one.name in given.names) for one in zoo().values()]
    content = {"protocol": {"edgegan": __version__, "machine": machine()}, "rows": rows}
    write_json(ROOT / "bench" / "zoo.json", content)
    write_text(ROOT / "bench" / "zoo.md", markdown(content))


def zoo() -> dict[str, Architecture]:
    """Return every architecture by its name."""
    families = [import_module(f"zoo_models.{family}") for family in FAMILIES]
    return {one.name: one for family in families for one in family.ARCHITECTURES}


def row(architecture: Architecture, *, anew: bool) -> dict[str, Any]:
    """Return what became of an architecture, made in a process of its own."""
    folder = FILES / "".join(letter if letter.isalnum() else "-" for letter in architecture.name.lower())
    record, key = folder / "made.json", made_with(SOURCES, nn.Identity(), machine()["packages"])
    if not anew and record.is_file():
        made = json.loads(record.read_text())
        if made["key"] == key:
            return made["row"]
    folder.mkdir(parents=True, exist_ok=True)
    print(architecture.name, flush=True)
    found = {"name": architecture.name, "paper": architecture.paper, **_alone(architecture.name, folder)}
    write_json(record, {"key": key, "row": found})
    return found


def _alone(name: str, folder: Path) -> dict[str, Any]:
    result = folder / "row.json"
    result.unlink(missing_ok=True)
    command = ["prlimit", f"--as={GIBIBYTES * 2**30}", sys.executable, __file__, name, "--alone", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        with (folder / "log.txt").open("w") as log:
            subprocess.run(command, stdout=log, stderr=log, timeout=SECONDS, env=environment, check=True)
    except subprocess.TimeoutExpired:
        return {"broken": f"it did not end within {SECONDS} seconds"}
    except subprocess.CalledProcessError as error:
        return {"broken": f"its process ended with {error.returncode}"}
    return json.loads(result.read_text())


if __name__ == "__main__":
    main()
