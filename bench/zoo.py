"""Generator architectures of the field, each through the whole chain.

    python bench/zoo.py [--speed] [NAME ...]

Writes bench/zoo.json and bench/zoo.md, after each architecture. These are those of bench/zoo_models: small
modules after public designs, with random weights that were settled (see `settle`). Each has a process of its
own, with bounds of time and memory. It goes on where it was: what was made before counts as long as
architectures, packages and the stages' revisions are the same and nothing failed; NAMEs are made anew. With
--speed, what the files take is measured too, which wants a quiet machine.
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

from made_with import ROOT, made_with
from torch import nn
from zoo_models.ports import Architecture
from zoo_steps import SAMPLES, STAGES, go_through, speed
from zoo_table import failures, markdown

from edgegan import Quantize, __version__
from edgegan.files import write_json, write_text
from edgegan.measure.machine import machine

FAMILIES = (
    *("dcgan", "residual", "style", "transformer", "translation"),
    *("restoration", "audio", "motion", "series"),
)
FILES = ROOT / "runs" / "bench-zoo"
SECONDS, GIBIBYTES = 900, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of architectures to take anew")
    parser.add_argument("--speed", action="store_true", help="measure speed too, on a quiet machine")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        write_json(given.alone / "row.json", go_through(zoo()[given.names[0]], given.alone))
        return
    rows: list[dict[str, Any]] = []
    protocol = {"edgegan": __version__, "architectures": len(zoo())}
    for one in zoo().values():
        made = row(one, anew=one.name in given.names)
        rows.append({**made, **({"speed": speed(one.contract, folder_of(one.name))} if given.speed else {})})
        content = {"protocol": protocol, "rows": rows}
        write_json(ROOT / "bench" / "zoo.json", content)
        write_text(ROOT / "bench" / "zoo.md", markdown(content))


def zoo() -> dict[str, Architecture]:
    """Return every architecture by its name."""
    families = [import_module(f"zoo_models.{family}") for family in FAMILIES]
    return {one.name: one for family in families for one in family.ARCHITECTURES}


def row(architecture: Architecture, *, anew: bool) -> dict[str, Any]:
    """Return what became of an architecture, made in a process of its own."""
    folder = folder_of(architecture.name)
    record, key = folder / "made.json", _key(architecture)
    if not anew and record.is_file():
        made = json.loads(record.read_text())
        if made["key"] == key and not list(failures(made["row"])):
            return made["row"]
    folder.mkdir(parents=True, exist_ok=True)
    print(architecture.name, flush=True)
    made_by = {"machine": machine(), "quantize_revision": Quantize.revision}
    names = {"name": architecture.name, "paper": architecture.paper, "made_by": made_by}
    found = {**names, **_alone(architecture.name, folder)}
    write_json(record, {"key": key, "row": found})
    return found


def folder_of(name: str) -> Path:
    """Return where an architecture's files are."""
    return FILES / "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def _key(architecture: Architecture) -> str:
    """Return what a row rests on, as a run's kept stages do: sources, packages, settings and revisions."""
    family = architecture.build.__module__.rpartition(".")[2]
    sources = (f"bench/zoo_models/{family}.py", "bench/zoo_models/ports.py")
    revisions = {stage.name: stage.revision for stage in STAGES}
    return made_with(sources, nn.Identity(), [machine()["packages"], revisions, SAMPLES])


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
