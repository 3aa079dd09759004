from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgegan.errors import InputError
from edgegan.measure import latency as module
from edgegan.measure import worker
from edgegan.measure.latency import Latency, measure_latency
from edgegan.measure.statistics import Interval
from edgegan.runtime.contract import Contract, Input, Output

Files = Callable[..., Path]


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUNDS", 4)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[worker.Worker]:
    """Every worker that is started, in order."""
    workers: list[worker.Worker] = []
    real = worker.Worker.__init__

    def remember(self: worker.Worker, threads: int) -> None:
        real(self, threads)
        workers.append(self)

    monkeypatch.setattr(worker.Worker, "__init__", remember)
    return workers


def imposter(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let workers run `script` in place of the real thing; `answer(...)` writes a reply."""
    head = "import json, os, sys, time\ndef answer(**reply): print(json.dumps(reply), flush=True)\n"
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-c", head + script))


def test_a_faster_model_is_found_faster(generator_file: Files, contract: Contract) -> None:
    candidates = {"full": generator_file("full", width=1024, depth=4), "small": generator_file("small")}
    seen: list[tuple[int, int]] = []
    figures = measure_latency(
        candidates,
        contract,
        baseline="full",
        seconds=0.6,
        warmup_seconds=0.02,
        progress=lambda done, total: seen.append((done, total)),
    )
    full, small = figures["full"], figures["small"]
    assert list(figures) == ["full", "small"]
    assert full.failed is None
    assert full.speedup == Interval(1.0, 1.0, 1.0)
    assert small.speedup is not None
    assert small.speedup.low > 1.5
    assert small.speedup.low <= small.speedup.value <= small.speedup.high
    for figure in (full, small):
        assert 0 < figure.p50 <= figure.p90 <= figure.p99
        assert figure.p50 < figure.end_to_end_ms_p50
        assert figure.iterations >= 2 * module.ROUNDS
        assert figure.load_ms > 0
        assert 10 < figure.peak_rss_mib < 4000
        assert figure.cv >= 0
    assert full.peak_rss_mib > small.peak_rss_mib
    assert seen == [(step + 1, 34) for step in range(34)]
    assert set(json.loads(json.dumps(small.to_dict(), allow_nan=False))) == {
        "latency_ms_p50",
        "latency_ms_p90",
        "latency_ms_p99",
        "latency_cv",
        "speedup",
        "end_to_end_ms_p50",
        "load_ms",
        "peak_rss_mib",
        "iterations",
        "warnings",
    }


@pytest.mark.usefixtures("few_rounds")
def test_a_broken_file_fails_alone(generator_file: Files, contract: Contract, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    figures = measure_latency(
        {"full": generator_file("full"), "broken": broken, "absent": tmp_path / "absent.onnx"},
        contract,
        baseline="full",
        seconds=0.05,
        warmup_seconds=0.0,
    )
    assert "cannot load the model" in figures["broken"].failed
    assert figures["absent"].failed
    assert figures["broken"].p50 is None
    assert set(figures["broken"].to_dict()) == {"failed", "warnings"}
    assert figures["full"].failed is None


@pytest.mark.usefixtures("few_rounds")
def test_without_the_baseline_there_is_no_speedup(
    generator_file: Files, contract: Contract, tmp_path: Path
) -> None:
    figures = measure_latency(
        {"full": tmp_path / "absent.onnx", "small": generator_file("small")},
        contract,
        baseline="full",
        seconds=0.05,
        warmup_seconds=0.0,
    )
    assert figures["small"].speedup is None
    assert figures["small"].to_dict()["speedup"] is None
    assert figures["small"].p50 > 0
    assert any("baseline 'full'" in warning for warning in figures["small"].warnings)


@pytest.mark.usefixtures("few_rounds")
def test_a_contract_that_does_not_fit_the_model_is_the_candidates_failure(generator_file: Files) -> None:
    wrong = Contract(inputs=(Input("z", (9,)),), outputs=(Output("image", (3, 16, 16)),))
    figures = measure_latency(
        {"full": generator_file("full")}, wrong, baseline="full", seconds=0.05, warmup_seconds=0.0
    )
    assert "cannot run the model" in figures["full"].failed


@pytest.mark.usefixtures("few_rounds")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("sys.stderr.write('dismal end'); sys.exit(3)", "exit status 3: dismal end"),
        ("sys.stdin.readline(); os.kill(os.getpid(), 9)", r"signal 9 \(out of memory\?\)"),
        ("sys.stdin.readline(); answer(load_ms=1.0); sys.stdin.readline(); os.abort()", "signal 6"),
        ("sys.stdin.readline(); sys.stdout.write('{'); sys.stdout.flush()", "exit status 0"),
        ("sys.stdin.readline(); print('hello', flush=True); time.sleep(60)", "cannot be read: b'hello"),
        ("sys.stdin.readline(); answer(error='of its own')", "of its own"),
        ("time.sleep(60)", "no answer within"),
        ("sys.stdin.close(); time.sleep(60)", "no answer within|exit status|signal"),
    ],
)
def test_a_worker_that_dies_or_hangs_is_a_recorded_failure(
    script: str, reason: str, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imposter(monkeypatch, script)
    monkeypatch.setattr(worker, "PATIENCE_S", 2.0)
    start = time.perf_counter()
    figures = measure_latency({"a": tmp_path, "b": tmp_path}, contract, baseline="a", seconds=0.05)
    assert time.perf_counter() - start < 20
    for figure in figures.values():
        assert re.search(reason, figure.failed)


@pytest.mark.usefixtures("few_rounds")
def test_one_that_dies_midway_does_not_stop_the_others(
    generator_file: Files, contract: Contract, started: list[worker.Worker]
) -> None:
    def kill_the_second(done: int, total: int) -> None:
        if done == 6:
            os.kill(started[1]._process.pid, signal.SIGKILL)

    figures = measure_latency(
        {"full": generator_file("full"), "doomed": generator_file("doomed")},
        contract,
        baseline="full",
        seconds=0.1,
        warmup_seconds=0.0,
        progress=kill_the_second,
    )
    assert "signal 9" in figures["doomed"].failed
    assert figures["full"].p50 > 0
    assert all(each._process.poll() is not None for each in started)


def test_workers_end_when_the_caller_stops(
    generator_file: Files, contract: Contract, started: list[worker.Worker]
) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_latency({"a": generator_file("a")}, contract, baseline="a", progress=interrupt)
    assert started[0]._process.poll() is not None


def test_one_runs_at_a_time_in_shuffled_rounds(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    imposter(
        monkeypatch,
        f"""
name = ''
for line in sys.stdin:
    request = json.loads(line)
    name = name or os.path.basename(request['model'])
    with open({str(log)!r}, 'a') as log: log.write(name + ' ' + request['do'] + '\\n')
    answer(load_ms=1.0, peak_rss_mib=1.0, run_ms=[2.0, 2.0], end_to_end_ms=[3.0, 3.0])
""",
    )
    measure_latency({name: tmp_path / name for name in "abc"}, contract, baseline="a")
    requests = log.read_text().split("\n")[:-1]
    assert requests[:6] == [f"{name} {what}" for what in ("load", "turn") for name in "abc"]
    assert requests[-3:] == ["a memory", "b memory", "c memory"]
    turns = [request[0] for request in requests[6:-3]]
    rounds = ["".join(turns[start : start + 3]) for start in range(0, len(turns), 3)]
    assert len(rounds) == module.ROUNDS
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(rounds)) > 3


def times(run_ms: str, end_to_end_ms: str = "[r + 0.1 for r in run_ms]") -> str:
    return f"""
turn = -1
for line in sys.stdin:
    request = json.loads(line)
    turn += request['do'] == 'turn'
    run_ms = {run_ms}
    answer(load_ms=1.0, peak_rss_mib=1.0, run_ms=run_ms, end_to_end_ms={end_to_end_ms})
"""


@pytest.mark.parametrize(
    ("script", "warnings"),
    [
        (times("[2.0, 2.01] * 20"), []),
        (times("[2.0, 2.0, 2.0, 3.5] * 20"), ["times vary by 27% (over 10%)"]),
        (times("[2.0 + turn / 20] * 20"), ["turns differ by 2"]),
        (times("[2.0] * 3"), ["p99 rests on 45 runs (fewer than 100)"]),
        (times("[2.0] * 20", "[5.0] * 20"), ["sampling and conversion take longer"]),
    ],
)
def test_doubtful_figures_come_with_a_warning(
    script: str, warnings: list[str], contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imposter(monkeypatch, script)
    found = measure_latency({"a": tmp_path}, contract, baseline="a")["a"].warnings
    assert len(found) == len(warnings)
    assert all(text.startswith(start) for text, start in zip(found, warnings)), found


def test_a_speedup_of_a_wide_interval_comes_with_a_warning() -> None:
    assert module._doubts_of_speedup(Interval(2.0, 1.9, 2.1)) == []
    assert "1.50 to 2.10" in module._doubts_of_speedup(Interval(2.0, 1.5, 2.1))[0]


def test_figures_pool_the_turns(contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imposter(monkeypatch, times("[float(i + 1) for i in range(100)]"))
    figure = measure_latency({"a": tmp_path}, contract, baseline="a")["a"]
    pooled = np.tile(np.arange(1.0, 101.0), module.ROUNDS)
    assert (figure.p50, figure.p90, figure.p99) == tuple(np.percentile(pooled, [50, 90, 99]))
    assert figure.cv == pytest.approx(pooled.std() / pooled.mean())
    assert figure.iterations == len(pooled)
    assert figure.end_to_end_ms_p50 == pytest.approx(figure.p50 + 0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"baseline": "b"},
        {"batch": 0},
        {"threads": 0},
        {"seconds": 0.0},
        {"seconds": float("nan")},
        {"warmup_seconds": -1.0},
    ],
)
def test_requests_without_sense_are_refused(
    wrong: dict[str, object], contract: Contract, tmp_path: Path
) -> None:
    with pytest.raises(InputError):
        measure_latency({"a": tmp_path}, contract, **{"baseline": "a", **wrong})


def test_a_failed_latency_has_no_figures() -> None:
    assert Latency(failed="gone").to_dict() == {"failed": "gone", "warnings": []}
