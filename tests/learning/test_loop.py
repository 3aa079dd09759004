"""What belongs to the loop alone; how runs resume is tested with each algorithm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgegan.learning.log import Log
from edgegan.learning.schedules import hold_and_fall, warm_up_and_fall


def test_rates_rise_and_fall_as_they_say() -> None:
    linear, cosine = (warm_up_and_fall(100, shape) for shape in ("linear", "cosine"))
    assert [linear(0), linear(1), linear(2)] == [0.5, 1, 1]
    assert linear(51) == pytest.approx(0.5)
    assert cosine(51) == pytest.approx(0.5)
    assert cosine(26) == pytest.approx(0.5 + 0.5 * 0.5**0.5, abs=0.01)
    assert 0 < linear(99) < 0.02
    held = hold_and_fall(100)
    assert [held(0), held(50), held(75), held(99)] == [1, 1, 0.5, pytest.approx(0.02)]
    assert warm_up_and_fall(1, "cosine")(0) == 1


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_log_goes_on_from_the_step_that_is_resumed(tmp_path: Path, name: str) -> None:
    log = Log(tmp_path / name)
    for step in (10, 20, 30):
        log.add(step, {"loss": step / 7})
    again = Log(tmp_path / name)
    again.resume(20)
    assert again.rows == log.rows[:2]
    again.add(30, {"loss": 30 / 7})
    assert again.rows == log.rows
    assert again.path.read_text() == log.path.read_text()
    again.resume(0)
    assert again.rows == []


@pytest.mark.parametrize(
    ("name", "content"),
    [("log.csv", "step,loss\n1,2\n2"), ("log.csv", "loss\n1"), ("log.csv", "\0"), ("log.jsonl", "[1]\n{")],
)
def test_a_damaged_log_begins_anew(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    log = Log(path)
    log.resume(5)
    assert log.rows == []


def test_a_log_of_another_process_is_not_written(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl", writes=False)
    log.add(1, {"loss": 1.0})
    assert log.rows == [{"step": 1, "loss": 1.0}]
    assert not list(tmp_path.iterdir())


def test_lines_that_are_cut_off_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"step": 1, "loss": 2.0}) + '\n{"step": 2, "lo')
    log = Log(path)
    log.resume(9)
    assert log.rows == [{"step": 1, "loss": 2.0}]
