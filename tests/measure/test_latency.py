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
from quick_latency import withhold_nothing

from edgegan.errors import InputError
from edgegan.measure import latency as module
from edgegan.measure import worker
from edgegan.measure.latency import Latency, measure_latency, side_by_side
from edgegan.measure.statistics import Interval
from edgegan.measure.turns import Runnable
from edgegan.runtime.contract import Contract, Input, Output

Files = Callable[..., Path]


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STARTS", 2)
    monkeypatch.setattr(module, "ROUNDS", 2)


@pytest.fixture
def on_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    withhold_nothing(monkeypatch)


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


def times(
    run_ms: str = "[2.0] * 20",
    *,
    end_to_end: str = "[t + 0.1 for t in run]",
    cpu: str = "run",
    lost: str = "[0.0] * len(run)",
    switches: str = "[0] * len(run)",
) -> str:
    """The script of a worker whose calls take what these expressions say, of its `name` and its `turn`."""
    return f"""
turn, name = -1, ''
for line in sys.stdin:
    request = json.loads(line)
    name = name or os.path.basename(request['artifact']['file'])
    turn += request['do'] == 'turn'
    run = {run_ms}
    calls = dict(run_ms=run, cpu_ms={cpu}, lost_ms={lost}, switches={switches}, end_to_end_ms={end_to_end})
    answer(load_ms=1.0, peak_rss_mib=1.0, **calls)
"""


@pytest.mark.usefixtures("on_any_machine")
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
        assert figure.iterations >= 2 * module.ROUNDS * module.STARTS
        assert figure.load_ms > 0
        assert 10 < figure.peak_rss_mib < 4000
        assert figure.cv >= 0
    assert full.peak_rss_mib > small.peak_rss_mib
    assert seen == [(step + 1, 50) for step in range(50)]
    assert set(json.loads(json.dumps(small.to_dict(), allow_nan=False))) == {
        "latency_ms_p50",
        "latency_ms_p90",
        "latency_ms_p99",
        "latency_cv",
        "latency_drift",
        "speedup",
        "samples_per_s",
        "end_to_end_ms_p50",
        "load_ms",
        "peak_rss_mib",
        "iterations",
        "disturbed",
        "withheld",
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


@pytest.mark.usefixtures("few_rounds", "on_any_machine")
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


@pytest.mark.usefixtures("few_rounds", "on_any_machine")
def test_one_that_dies_midway_does_not_stop_the_others(
    generator_file: Files, contract: Contract, started: list[worker.Worker]
) -> None:
    def kill_one(done: int, total: int) -> None:
        if done == 6:
            os.kill(started[1]._process.pid, signal.SIGKILL)

    figures = measure_latency(
        {"full": generator_file("full"), "doomed": generator_file("doomed")},
        contract,
        baseline="full",
        seconds=0.1,
        warmup_seconds=0.0,
        progress=kill_one,
    )
    (failed,) = [figure.failed for figure in figures.values() if figure.failed]
    assert "signal 9" in failed
    (living,) = [figure for figure in figures.values() if not figure.failed]
    assert living.p50 > 0
    assert all(each._process.poll() is not None for each in started)


def test_workers_end_when_the_caller_stops(
    generator_file: Files, contract: Contract, started: list[worker.Worker]
) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_latency({"a": generator_file("a")}, contract, baseline="a", progress=interrupt)
    assert started[0]._process.poll() is not None


def test_one_runs_at_a_time_in_shuffled_rounds_and_each_is_started_anew(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    write = f"open({str(log)!r}, 'a').write(name + ' ' + request['do'] + '\\n') and [2.0, 2.0]"
    imposter(monkeypatch, times(write))
    measure_latency({name: tmp_path / name for name in "abc"}, contract, baseline="a")
    requests = log.read_text().split("\n")[:-1]
    length = 3 * (module.ROUNDS + 3)
    starts = [requests[start : start + length] for start in range(0, len(requests), length)]
    assert len(starts) == module.STARTS
    orders = []
    for start in starts:
        groups = [start[at : at + 3] for at in range(0, length, 3)]
        kinds = ["load", *["turn"] * (module.ROUNDS + 1), "memory"]
        for group, kind in zip(groups, kinds, strict=True):
            assert sorted(group) == [f"{name} {kind}" for name in "abc"]
        orders += ["".join(request[0] for request in group) for group in groups[:-1]]
    assert len(set(orders)) > 3


@pytest.mark.parametrize(
    ("script", "warnings"),
    [
        (times("[2.0, 2.01] * 20"), []),
        (times("[2.0] * 3"), ["p99 rests on 45 runs (fewer than 100)"]),
        (times("[2.0] * 20", end_to_end="[5.0] * 20"), ["sampling and conversion take longer"]),
    ],
)
def test_doubtful_figures_come_with_a_warning(
    script: str, warnings: list[str], contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imposter(monkeypatch, script)
    found = measure_latency({"a": tmp_path}, contract, baseline="a")["a"].warnings
    assert len(found) == len(warnings)
    assert all(text.startswith(start) for text, start in zip(found, warnings)), found


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (times(), None),
        (times("[2.0, 2.0, 2.0, 3.5] * 20"), "times vary by up to 27%."),
        (times("[2.0 + turn / 3] * 20"), "medians by up to 25% between turns"),
        (times(lost="[0.0, 0.0, 0.0, 0.1] * 5"), "25% of all calls were interrupted, and are left out."),
    ],
)
def test_a_busy_machine_is_told_in_one_sentence(
    script: str, sentence: str | None, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imposter(monkeypatch, script)
    measured = measure_latency({"a": tmp_path, "b": tmp_path}, contract, baseline="a")
    told = module.noise(latency.to_dict() for latency in measured.values())
    assert (told is None) == (sentence is None)
    assert (sentence or "") in (told or "")


@pytest.mark.parametrize(("names", "trust"), [("ab", "Trust the speed-ups"), ("a", "To trust the ms, close")])
def test_speedups_are_to_be_trusted_only_where_there_are_any(
    names: str, trust: str, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imposter(monkeypatch, times("[2.0, 2.0, 2.0, 3.5] * 20"))
    measured = measure_latency(dict.fromkeys(names, tmp_path), contract, baseline="a")
    assert trust in (module.noise(latency.to_dict() for latency in measured.values()) or "")


def test_interrupted_calls_are_left_out_and_counted(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imposter(monkeypatch, times("[9.0, 2.0, 4.0, 2.0] * 5", lost="[3.0, 0, 1.0, 0.01] * 5", cpu="[2.0] * 20"))
    figure = measure_latency({"a": tmp_path}, contract, baseline="a")["a"]
    assert (figure.p50, figure.p99) == (2.0, 2.0)
    assert figure.end_to_end_ms_p50 == pytest.approx(2.1)
    assert figure.iterations == figure.disturbed == 10 * module.STARTS * module.ROUNDS
    assert figure.withheld == {}


def test_a_long_call_in_which_threads_changed_places_counts_if_it_had_its_cpus(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "processors", lambda: 2)
    script = times(
        "[500.0, 500.0, 600.0, 500.0]", cpu="[990.0, 990.0, 900.0, 990.0]", switches="[7, 0, 7, 3]"
    )
    imposter(monkeypatch, script)
    figure = measure_latency({"a": tmp_path}, contract, baseline="a", threads=2)["a"]
    assert (figure.p50, figure.p99) == (500.0, 500.0)
    assert figure.disturbed == module.STARTS * module.ROUNDS


@pytest.mark.parametrize(
    ("script", "threads", "reason"),
    [
        (times(lost="[0.0] + [0.5] * 19"), 1, "other work interrupted 285 of its 300 calls: close other"),
        (
            times(cpu="[2.1] * 20", switches="[0, 1] * 10"),
            2,
            "its 2 threads had 1.1 CPUs between them: close other programs",
        ),
    ],
)
def test_times_that_do_not_hold_are_withheld(
    script: str,
    threads: int,
    reason: str,
    contract: Contract,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "processors", lambda: 2)
    imposter(monkeypatch, script)
    figures = measure_latency({"a": tmp_path}, contract, baseline="a", threads=threads)["a"].to_dict()
    assert figures["withheld"]["latency"].startswith(reason)
    assert figures["latency_ms_p50"] is figures["speedup"] is figures["end_to_end_ms_p50"] is None
    assert figures["peak_rss_mib"] == 1.0


def test_a_model_that_runs_on_one_thread_is_not_taken_for_a_busy_machine(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "processors", lambda: 2)
    imposter(monkeypatch, times("[200.0] * 20", cpu="[204.0] * 20", switches="[0, 1] * 10"))
    figure = measure_latency({"a": tmp_path}, contract, baseline="a", threads=2)["a"]
    assert figure.p50 == 200.0
    assert (figure.withheld, figure.disturbed) == ({}, 0)


def test_a_speedup_on_which_wall_and_cpu_time_differ_is_withheld(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imposter(
        monkeypatch,
        times("[20.0 if name == 'full' else 1.0] * 20", cpu="[16.0 if name == 'full' else 1.0] * 20"),
    )
    figures = measure_latency(
        {name: tmp_path / name for name in ("full", "small")}, contract, baseline="full"
    )
    assert figures["small"].speedup is None
    assert figures["small"].p50 == 1.0
    assert figures["small"].withheld["speedup"].startswith("it is 20 by wall time and 16 by CPU time")


def test_without_times_of_the_baseline_no_speedup_is_told(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imposter(monkeypatch, times(lost="[1.0 if name == 'full' else 0.0] * 20"))
    figures = measure_latency(
        {name: tmp_path / name for name in ("full", "small")}, contract, baseline="full"
    )
    assert set(figures["full"].withheld) == {"latency"}
    assert "'full', which it is relative to" in figures["small"].withheld["speedup"]


def test_the_interval_holds_what_changes_from_start_to_start(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = tmp_path / "starts"
    counter.write_text("")
    late = f"""
with open({str(counter)!r}, 'a') as file: file.write('x')
slow = 1.0 if os.path.getsize({str(counter)!r}) % 2 else 2.0
"""
    imposter(monkeypatch, late + times("[(4.0 if name == 'full' else 2.0) * slow] * 20"))
    names = ("full", "small")
    speedup = measure_latency({name: tmp_path / name for name in names}, contract, baseline="full")[
        "small"
    ].speedup
    assert speedup is not None
    assert speedup.low < 1.0
    assert speedup.high > 4.0


def test_figures_pool_the_turns(contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imposter(monkeypatch, times("[float(i + 1) for i in range(100)]"))
    figure = measure_latency({"a": tmp_path}, contract, baseline="a")["a"]
    pooled = np.tile(np.arange(1.0, 101.0), module.ROUNDS * module.STARTS)
    assert (figure.p50, figure.p90, figure.p99) == tuple(np.percentile(pooled, [50, 90, 99]))
    assert figure.cv == pytest.approx(pooled.std() / pooled.mean())
    assert figure.iterations == len(pooled)
    assert figure.end_to_end_ms_p50 == pytest.approx(figure.p50 + 0.1)
    assert figure.samples_per_s == pytest.approx(1e3 / pooled.mean())
    assert figure.starts.ms == pytest.approx([50.5] * module.STARTS)


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


def test_speedups_are_relative_to_the_faster_baseline(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imposter(monkeypatch, times("[{'a': 4.0, 'b': 3.0, 'c': 1.0}[name]] * 20"))
    runnables = {name: Runnable(tmp_path / name, contract) for name in "abc"}
    figures = side_by_side(runnables, baselines=["a", "b"], batch=8)
    assert {figure.relative_to for figure in figures.values()} == {"b"}
    speedups = {name: figure.speedup.value for name, figure in figures.items() if figure.speedup}
    assert speedups == pytest.approx({"a": 0.75, "b": 1.0, "c": 3.0})
    assert figures["c"].samples_per_s == pytest.approx(8000.0)
    assert figures["c"].starts.speedup == pytest.approx([3.0] * module.STARTS)
    alone = side_by_side(runnables, baselines=[])["c"]
    assert (alone.speedup, alone.relative_to, alone.withheld, alone.warnings) == (None, None, {}, [])


def test_a_failed_latency_has_no_figures() -> None:
    assert Latency(failed="gone").to_dict() == {"failed": "gone", "warnings": []}
