"""The short run: each reader on changed files and on those that once did harm, in processes under limits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ATTACKED = (
    "recipe",
    "target",
    "checkpoint",
    "training state",
    "resume",
    "inspect",
    "onnx",
    "images",
    "report",
)


def fuzzed(*options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.fuzz", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_changed_files_are_read_or_refused_with_advice() -> None:
    found = fuzzed("--seed", "1")
    assert {name: tally["faults"] for name, tally in found.items() if tally["faults"]} == {}
    for name, tally in found.items():
        assert tally["counts"].get("refused", 0) > 0 or name == "resume", name
        assert tally["counts"].get("read", 0) > 0, name


@pytest.mark.slow
def test_files_that_once_did_harm_do_none(shared: Path) -> None:
    folder = shared.parent / "attacks"
    if not folder.is_dir():
        pytest.skip("the attacks are absent")
    found = fuzzed(*ATTACKED, "--attacks", str(folder))
    assert {name: tally["faults"] for name, tally in found.items() if tally["faults"]} == {}
    assert set(found) == set(ATTACKED)
    assert all(tally["counts"]["tries"] > 1 for tally in found.values())
