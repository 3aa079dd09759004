"""What a call costs beyond the engine's own session, at batch 1 on the CIFAR-10 student, one thread.

    python bench/call_overhead.py [--turns 300]

Forms of one and the same call take turns of a few milliseconds: the bare session (`InferenceSession.run`,
`InferRequest.infer`), edgegan's engine, and `Generator`, with the inputs given and with inputs drawn from a
seed. Each is told relative to the bare session of the same turn. Writes bench/call_overhead.json and .md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import full_run
import numpy as np

from edgegan.compress.export import export_onnx
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.files import write_json, write_text
from edgegan.measure.machine import machine
from edgegan.measure.statistics import bootstrap
from edgegan.runtime import Generator
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Arrays
from edgegan.runtime.engines.base import Engine
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine
from edgegan.runtime.engines.openvino import OpenVinoEngine
from edgegan.runtime.engines.registry import open_artifact

BENCH = Path(__file__).parent
TURNS, TURN_S = 300, 0.004
FORMS = ("bare session", "engine", "generator, inputs given", "generator, inputs drawn")
Call = Callable[[], Any]


def files(folder: Path) -> list[Artifact]:
    """Write the student in FP32 and INT8."""
    contract, student = full_run.recipe(full_run.FULL).contract, full_run.student(full_run.FULL)
    export_onnx(student, contract, folder / "fp32.onnx")
    settings = QuantizeSettings(
        targets=("x64-cpu", "openvino-cpu"), samples=64, calibrator="mse", gptq=False, bias_correction=False
    )
    quantized = Quantize(settings).run(Candidate(student, student, contract), Context(folder))
    return [Artifact.of(folder / "fp32.onnx", "fp32"), *quantized.artifacts]


def bare(engine: Engine, feeds: Arrays) -> Call:
    """Return a call of the session that an engine holds, as an app would write it by hand."""
    if isinstance(engine, OnnxRuntimeEngine):
        session = engine._session
        return lambda: session.run(None, feeds)
    assert isinstance(engine, OpenVinoEngine)
    request = engine._request
    return lambda: request.infer(feeds, share_inputs=True).to_dict()


def calls(engine: Engine) -> dict[str, Call]:
    """Return the forms of a call by name."""
    contract = full_run.recipe(full_run.FULL).contract
    generator = Generator(engine, contract)
    feeds: dict[str, Any] = contract.sample(1, 7)
    forms = (
        bare(engine, feeds),
        lambda: engine(feeds),
        lambda: generator(**feeds),
        lambda: generator(n=1, seed=7),
    )
    return dict(zip(FORMS, forms))


def timed(forms: dict[str, Call], turns: int) -> dict[str, np.ndarray]:
    """Return the least seconds of a call in each turn."""
    counts: dict[str, int] = {}
    for name, call in forms.items():
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < 0.1:
            call()
            count += 1
        counts[name] = max(3, round(count * TURN_S / 0.1))
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(turns):
        for name, call in forms.items():
            least = np.inf
            for _ in range(counts[name]):
                start = time.perf_counter()
                call()
                least = min(least, time.perf_counter() - start)
            seconds[name].append(least)
    return {name: np.array(values) for name, values in seconds.items()}


def measure(turns: int) -> list[dict[str, Any]]:
    """Return a row for each file on each engine that it is for."""
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        for artifact in files(Path(folder)):
            for name in ("onnxruntime", "openvino"):
                if artifact.engine not in (None, name):
                    continue
                with open_artifact(artifact, name, threads=1) as engine:
                    seconds = timed(calls(engine), turns)
                first = seconds[FORMS[0]]
                over = {
                    form: bootstrap(100 * (seconds[form] / first - 1), np.median).to_dict()
                    for form in FORMS[1:]
                }
                bare_us = 1e6 * float(np.median(first))
                rows.append({"file": artifact.name, "engine": engine.name, "bare_us": bare_us, "over": over})
    return rows


def markdown(rows: list[dict[str, Any]], turns: int, cpu: str) -> str:
    """Return the table, and how it was made."""
    lines = [
        f"| file | engine | bare session, us | {' | '.join(FORMS[1:])} |",
        "| --- | --- | ---: |" + " ---: |" * 3,
    ]
    for row in rows:
        cells = [_percent(row["over"][form]) for form in FORMS[1:]]
        lines.append(f"| {row['file']} | {row['engine']} | {row['bare_us']:.0f} | {' | '.join(cells)} |")
    lines += [
        "",
        f"`python bench/call_overhead.py`, {cpu}, one thread, batch 1: the student of the profile `full` of",
        "`recipes/cifar10`. The least time of a call in a turn, against that of the bare session in the same",
        f"turn: the median over {turns} turns, with 95% intervals. A generator checks inputs and outputs,",
        "and makes uint8 images.",
    ]
    return "\n".join(lines) + "\n"


def _percent(over: dict[str, float]) -> str:
    return f"{over['value']:+.1f}% [{over['low']:+.1f}, {over['high']:+.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=TURNS)
    turns = parser.parse_args().turns
    rows, found = measure(turns), machine()
    protocol = {"turns": turns, "turn_seconds": TURN_S, "threads": 1, "batch": 1, "machine": found}
    write_json(BENCH / "call_overhead.json", {"protocol": protocol, "rows": rows})
    write_text(BENCH / "call_overhead.md", markdown(rows, turns, found["cpu"]))
    print((BENCH / "call_overhead.md").read_text())


if __name__ == "__main__":
    main()
