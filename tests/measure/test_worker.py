from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from edgegan.measure.worker import MEASURED, Worker, WorkerFailed
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract

Files = Callable[..., Path]


@pytest.fixture
def live() -> Iterator[Worker]:
    worker = Worker(threads=1)
    yield worker
    worker.close()


def load(path: Path, contract: Contract, **changes: int) -> dict[str, object]:
    return {
        "do": "load",
        "artifact": asdict(Artifact("model", str(path))),
        "engine": "onnxruntime",
        "contract": contract.to_dict(),
        "stored": None,
        "batch": 2,
        "threads": 1,
        **changes,
    }


def test_it_loads_runs_and_weighs(live: Worker, generator_file: Files, contract: Contract) -> None:
    loaded = live.ask(load(generator_file("g"), contract))
    assert loaded["load_ms"] > 0
    assert loaded["engine"].startswith("onnxruntime ")
    turn = live.ask({"do": "turn", "seconds": 0.05, "least": 2}, seconds=0.05)
    assert set(turn) == set(MEASURED)
    assert len({len(calls) for calls in turn.values()}) == 1
    assert len(turn["run_ms"]) >= 2
    assert all(0 <= lost <= run for lost, run in zip(turn["lost_ms"], turn["run_ms"]))
    assert all(cpu >= 0 for cpu in turn["cpu_ms"])
    assert all(0 < run < whole for run, whole in zip(turn["run_ms"], turn["end_to_end_ms"]))
    assert len(live.ask({"do": "turn", "seconds": 0.0, "least": 3})["run_ms"]) == 3
    assert live.ask({"do": "memory"})["peak_rss_mib"] > 10


def test_its_memory_is_its_own_and_not_its_parents(live: Worker) -> None:
    import numpy as np

    ballast = np.ones(2**29, np.uint8)
    fresh = Worker(threads=1)
    try:
        assert fresh.ask({"do": "memory"})["peak_rss_mib"] < 400
    finally:
        fresh.close()
    assert ballast.all()


def test_it_lives_on_after_a_request_that_fails(
    live: Worker, generator_file: Files, contract: Contract, tmp_path: Path
) -> None:
    with pytest.raises(WorkerFailed, match="cannot load the model"):
        live.ask(load(tmp_path / "none.onnx", contract))
    assert live.ask(load(generator_file("g"), contract))["load_ms"] > 0


def test_it_ends_with_its_input() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "edgegan.measure.worker"],
        input=b"",
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout == b""
    assert ended.stderr == b""


def test_closing_twice_is_harmless() -> None:
    worker = Worker(threads=1)
    worker.close()
    worker.close()
