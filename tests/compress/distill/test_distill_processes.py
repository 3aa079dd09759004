"""Distillations in processes of their own: killed ones, and two that share the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distill_setup import small_candidate
from safetensors.torch import load_file

from edgegan.learning.draws import draw

PROGRAM = str(Path(__file__).with_name("distill_setup.py"))


def start(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finished = start(PROGRAM, str(whole))
    assert finished.returncode == 0, finished.stderr
    assert start(PROGRAM, str(cut), "--kill-at", "7").returncode == -signal.SIGKILL
    assert (cut / "checkpoint.safetensors").exists()
    assert start(PROGRAM, str(cut)).returncode == 0
    for name in ("student.safetensors", "losses.csv"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()
    assert sorted(file.name for file in cut.iterdir()) == ["losses.csv", "student.safetensors"]


@pytest.mark.slow
def test_two_processes_give_the_student_of_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    alone = start(PROGRAM, str(one))
    assert alone.returncode == 0, alone.stderr
    together = start("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", PROGRAM, str(two))
    assert together.returncode == 0, together.stderr
    images = []
    inputs = draw(small_candidate().contract, 64, 0)
    for folder in (one, two):
        student = small_candidate().student
        student.load_state_dict(load_file(folder / "student.safetensors"))
        with torch.no_grad():
            images.append(student(*inputs))
    start_images = small_candidate().student(*inputs).detach()
    moved = float((images[0] - start_images).abs().mean())
    apart = float((images[0] - images[1]).abs().mean())
    assert moved > 0.02
    assert apart < 1e-3 * moved
