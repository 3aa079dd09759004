"""A run folder that edgegan 0.1.0 left, without its pictures, page and models: it is still of use."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edgegan.compressor import Follower, compress_generator
from edgegan.report import write_report
from edgegan.run.folder import read_run

STAGES = ["prune", "distill", "quantize", "export"]


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The folder that holds the recipe `small`, and `run`."""
    with zipfile.ZipFile(Path(__file__).with_name("run_of_0_1.zip")) as archive:
        archive.extractall(tmp_path)
    return tmp_path


class Told(Follower):
    """Notes which steps began, and whether they were restored."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, bool]] = []

    def begin(self, step: str, index: int, count: int, restored: bool):
        self.begun.append((step, restored))
        return lambda done, total: None


def test_it_is_reported(left: Path) -> None:
    run = read_run(left / "run")
    assert (run.name, run.run.edgegan, run.shipped) == ("small", "0.1.0", "int8")
    assert run.run.shell_command == "edgegan compress small --out run"
    assert [row.name for row in run.figures.rows] == ["full", "prune", "fp32", "fp16", "int8"]
    assert run.figures.rows[1].interval("psnr_db") is not None
    assert [stage.record.stage for stage in run.stages if stage.record] == STAGES
    assert run.lint is not None
    assert len(run.lint) == 1
    assert "made by edgegan 0.1.0" in write_report(left / "run").read_text().lower()


def test_it_is_gone_on_with_and_only_quantizing_runs_again(left: Path) -> None:
    """Quantizing gives other files since."""
    told = Told()
    compress_generator(left / "small", out=left / "run", until="export", follower=told)
    again = {"lint", "quantize", "export"}
    assert told.begun == [(step, step not in again) for step in ["lint", *STAGES]]


def test_other_settings_run_the_stage_and_those_behind_it_again(left: Path) -> None:
    recipe = left / "small" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("distill: {steps: 6,", "distill: {steps: 2,"))
    told = Told()
    compress_generator(left / "small", out=left / "run", until="distill", follower=told)
    assert told.begun == [("lint", False), ("prune", True), ("distill", False)]
