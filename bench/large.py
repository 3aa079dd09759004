"""Networks of full size through lint, prune, export and quantize: how long that takes, and how much memory.

    python bench/large.py [NAME ...]

Writes bench/large.json and bench/large.md. Each network has a process of its own, with bounds of time and
memory. With names only these are made anew.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from int8_unseen_nets import UNet, style
from made_with import ROOT
from torch import nn
from zoo_models.ports import contract, image, picture
from zoo_steps import settle

from edgegan import __version__
from edgegan.compress.cost import count
from edgegan.compress.export import Export
from edgegan.compress.lint import lint
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.stage import Candidate, Context, Stage
from edgegan.files import write_json, write_text
from edgegan.measure.machine import machine

SECONDS, GIBIBYTES = 900, 12
SETTLED_ON = 2
"""Samples that random weights are settled on."""
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "ResNet, 9 blocks, width 64": (lambda: style(64, 9, transposed=True), 256),
    "ResNet, 9 blocks, width 16": (lambda: style(16, 9), 512),
    "U-Net, width 48": (lambda: UNet(48), 512),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        write_json(given.alone, go_through(given.names[0]))
        return
    path = ROOT / "bench" / "large.json"
    rows = json.loads(path.read_text())["rows"] if path.is_file() else {}
    for name in given.names or NETWORKS:
        rows[name] = alone(name)
        print(name, json.dumps(rows[name]), flush=True)
        content = {"protocol": {"edgegan": __version__, "machine": machine()}, "rows": rows}
        write_json(path, content)
        write_text(path.with_suffix(".md"), table(content))


def alone(name: str) -> dict[str, Any]:
    """Return the figures of a network, taken in a process of its own."""
    with TemporaryDirectory() as folder:
        result = Path(folder) / "row.json"
        limit = ["prlimit", f"--as={GIBIBYTES * 2**30}"]
        command = [*limit, sys.executable, __file__, name, "--alone", str(result)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        try:
            subprocess.run(command, timeout=SECONDS, env=environment, check=True)
        except subprocess.TimeoutExpired:
            return {"failed": f"it did not end within {SECONDS} seconds"}
        except subprocess.CalledProcessError as error:
            return {"failed": f"its process ended with {error.returncode}"}
        return json.loads(result.read_text())


def go_through(name: str) -> dict[str, Any]:
    """Return what each step took of the CPU, in seconds, and the most memory up to its end."""
    build, size = NETWORKS[name]
    torch.manual_seed(0)
    ports = contract(picture(size), image(size))
    module = settle(build(), ports, SETTLED_ON).requires_grad_(False)
    done: dict[str, Any] = {"size": size, "gmacs": count(module, ports).macs / 1e9, "steps": {}}
    stages: list[Stage] = [
        Prune(PruneSettings(macs=0.5, align=8)),
        Export(),
        Quantize(QuantizeSettings(targets=("x64-cpu",))),
    ]
    before = _seconds()
    errors = [found.what for found in lint(module, ports, stages=stages) if found.level == "error"]
    assert not errors, errors
    done["steps"]["lint"] = {"seconds": _seconds() - before, "gib": _gibibytes()}
    candidate = Candidate(module, module, ports)
    with TemporaryDirectory() as folder:
        for stage in stages:
            before = _seconds()
            stage.requires(candidate)
            after = stage.run(candidate, Context(Path(folder)))
            stage.ensures(candidate, after)
            candidate = after
            done["steps"][stage.name] = {"seconds": _seconds() - before, "gib": _gibibytes()}
    proof = candidate.lineage[-1].proof["int8"]
    return {**done, "psnr_db": proof["psnr_db"], "int8_macs_share": proof["int8_macs_share"]}


def table(content: dict[str, Any]) -> str:
    """Return the page."""
    steps = ("lint", "prune", "export", "quantize")
    columns = ["network", "size", "GMACs", *(f"{step}, s" for step in steps), "most, GiB", "INT8, dB"]
    lines = [
        "# Networks of full size",
        "",
        "What lint, prune (to half the MACs), export and quantize (by its defaults, for `x64-cpu`) take:",
        "seconds of the CPU, and memory. Random weights, settled; edgegan "
        f"{content['protocol']['edgegan']}, on {content['protocol']['machine'].get('cpu', 'this CPU')}.",
        "",
        f"| {' | '.join(columns)} |",
        f"| {' | '.join(['---'] * len(columns))} |",
    ]
    for name, row in content["rows"].items():
        if "failed" in row:
            lines.append(f"| {name} | {row['failed']} |{' |' * (len(columns) - 2)}")
            continue
        taken = [f"{row['steps'][step]['seconds']:.0f}" for step in steps]
        most = max(step["gib"] for step in row["steps"].values())
        cells = [f"{row['size']}x{row['size']}", f"{row['gmacs']:.1f}", *taken, f"{most:.1f}"]
        lines.append(f"| {' | '.join([name, *cells, format(row['psnr_db'], '.1f')])} |")
    return "\n".join(lines) + "\n"


def _seconds() -> float:
    """Return the CPU time that this process and its children have taken."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def _gibibytes() -> float:
    """Return the most memory that this process, or any child, has held."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(used.ru_maxrss for used in both) / 2**20


if __name__ == "__main__":
    main()
