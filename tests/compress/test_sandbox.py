import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from edgegan.compress.sandbox import limited
from edgegan.errors import ModelError


def test_the_result_comes_back_and_the_work_is_done_elsewhere() -> None:
    torch.randn(64, 64) @ torch.randn(64, 64)
    convolved = limited(lambda: torch.ones(1, 1, 9, 9).mean().item(), "it", seconds=20, gibibytes=1)
    assert convolved == 1.0
    assert limited(os.getpid, "it", seconds=20, gibibytes=1) != os.getpid()


def test_an_exception_is_told() -> None:
    with pytest.raises(ModelError, match="the graph: KeyError: 'x'"):
        limited(lambda: {}["x"], "the graph", seconds=20, gibibytes=1)


def test_work_that_hangs_is_ended() -> None:
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"more than 0\.5 seconds"):
        limited(lambda: time.sleep(60), "the graph", seconds=0.5, gibibytes=1)
    assert time.monotonic() - started < 10


def test_work_that_eats_memory_is_ended() -> None:
    with pytest.raises(ModelError, match="too much memory"):
        limited(lambda: len(bytearray(2**31)), "the graph", seconds=20, gibibytes=0.5)
    with pytest.raises(ModelError, match="allocate"):
        limited(lambda: torch.zeros(2**30).sum().item(), "the graph", seconds=20, gibibytes=0.5)


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(ModelError, match=r"its process died$"):
        limited(lambda: os._exit(3), "the graph", seconds=20, gibibytes=1)
    with pytest.raises(ModelError, match="its process died of SIGTERM: what it ran crashed"):
        limited(lambda: os.kill(os.getpid(), signal.SIGTERM), "the graph", seconds=20, gibibytes=1)
    with pytest.raises(ModelError, match="its process died, most likely out of memory"):
        limited(lambda: os.kill(os.getpid(), signal.SIGKILL), "the graph", seconds=20, gibibytes=1)


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    work = f"lambda: (Path({str(told)!r}).write_text(str(os.getpid())), time.sleep(60))"
    code = "import os, time; from pathlib import Path; from edgegan.compress.sandbox import limited; "
    parent = subprocess.Popen(
        [sys.executable, "-c", code + f"limited({work}, 'it', seconds=60, gibibytes=1)"]
    )
    while not (told.exists() and told.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    child = int(told.read_text())
    parent.kill()
    parent.wait()
    ended = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < ended
        time.sleep(0.05)
