"""Whether speed-ups hold: pairs of which the true ratio is known, quietly and beside two busy processes.

    python bench/latency_check.py [--comparisons 40] [--seconds 0.5]

A/A compares a network with itself; the other pairs are chains of k and 2k equal convolutions, whose true
ratio is that of their CPU times, measured quietly and for longer. Half of each run beside two processes that
never rest. Writes bench/latency.json and bench/latency.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgegan.files import write_json, write_text
from edgegan.measure.latency import measure_latency
from edgegan.measure.machine import machine
from edgegan.measure.statistics import Interval, repeatable
from edgegan.measure.worker import Worker
from edgegan.runtime.artifact import USUAL_ENGINE, Artifact
from edgegan.runtime.contract import Contract, Input, Output

BENCH = Path(__file__).parent
BLOCKS = (2, 4, 8, 16, 32)
"""The k of the chains: from some 0.1 to some 5 ms."""
WIDTH, SIZE = 24, 24
CONTRACT = Contract((Input("z", (3, SIZE, SIZE)),), (Output("image", (3, SIZE, SIZE)),))
TRUTH_STARTS, TRUTH_SECONDS, TRUTH_TURNS = 6, 0.2, 4
SPIN = "while True: pass"


@dataclass(frozen=True)
class Comparison:
    """One speed-up, and what it should have been."""

    kind: str
    busy: bool
    blocks: int
    truth: Interval
    told: Interval | None
    withheld: str | None
    seconds: float

    @property
    def verdict(self) -> str:
        """Judge by the interval, which must meet the truth's own."""
        if self.told is None:
            return "withheld"
        return "inside" if self.told.low <= self.truth.high and self.truth.low <= self.told.high else "wrong"


def chain(path: Path, blocks: int) -> Path:
    """Write a network of `blocks` equal convolutions, and one more on each side."""
    rng = np.random.default_rng(0)
    widths = [3, *[WIDTH] * (blocks + 1), 3]
    nodes, weights = [], []
    for index, (wide, wider) in enumerate(pairwise(widths)):
        values = rng.standard_normal((wider, wide, 3, 3), dtype=np.float32) * np.float32((9 * wide) ** -0.5)
        weights.append(numpy_helper.from_array(values, f"w{index}"))
        nodes.append(helper.make_node("Conv", [f"h{index}", f"w{index}"], [f"c{index}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Tanh" if wider == 3 else "Relu", [f"c{index}"], [f"h{index + 1}"]))
    nodes[0].input[0], nodes[-1].output[0] = "z", "image"
    shape = ["N", 3, SIZE, SIZE]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("z", "image")]
    graph = helper.make_graph(nodes, "chain", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def true_ratio(slow: Path, fast: Path) -> Interval:
    """Return the ratio of CPU times of undisturbed calls, one thread, over several starts of both."""
    ratios = []
    for _ in range(TRUTH_STARTS):
        workers = {path: Worker(threads=1) for path in (slow, fast)}
        try:
            for path, worker in workers.items():
                artifact = {"artifact": asdict(Artifact(path.stem, str(path))), "engine": USUAL_ENGINE}
                given = {"contract": CONTRACT.to_dict(), "stored": None, "batch": 1, "threads": 1}
                worker.ask({"do": "load", **artifact, **given})
            turns = [{path: _cpu_ms(workers[path]) for path in workers} for _ in range(TRUTH_TURNS)]
            ratios.append(float(np.median([turn[slow] / turn[fast] for turn in turns])))
        finally:
            for worker in workers.values():
                worker.close()
    return repeatable(np.array(ratios))


def _cpu_ms(worker: Worker) -> float:
    turn = worker.ask({"do": "turn", "seconds": TRUTH_SECONDS, "least": 20}, seconds=TRUTH_SECONDS)
    calm = np.array(turn["switches"]) == 0
    return float(np.median(np.array(turn["cpu_ms"])[calm if calm.any() else slice(None)]))


@contextmanager
def beside(busy: bool) -> Iterator[None]:
    """Let two processes take all the CPU that they get."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(2 if busy else 0)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def compared(
    kind: str, busy: bool, blocks: int, files: dict[str, Path], truth: Interval, seed: int, s: float
) -> Comparison:
    started = time.monotonic()
    with beside(busy):
        found = measure_latency(files, CONTRACT, baseline="one", seconds=s, warmup_seconds=0.05, seed=seed)
    told = found["other"]
    reason = told.failed or told.withheld.get("speedup") or told.withheld.get("latency")
    return Comparison(kind, busy, blocks, truth, told.speedup, reason, round(time.monotonic() - started, 1))


def markdown(done: list[Comparison], seconds: float) -> str:
    """Return the table, and every comparison that was wrong."""
    lines = ["| pairs | machine | comparisons | inside | withheld | wrong | median half width |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for kind in ("A/A", "k and 2k"):
        for busy in (False, True):
            group = [each for each in done if each.kind == kind and each.busy == busy]
            counts = [
                sum(each.verdict == verdict for each in group) for verdict in ("inside", "withheld", "wrong")
            ]
            widths = [each.told.high / each.told.value - 1 for each in group if each.told]
            width = f"{np.median(widths):.1%}" if widths else "–"
            where = "two busy processes beside" if busy else "as it was"
            lines.append(f"| {kind} | {where} | {len(group)} | {' | '.join(map(str, counts))} | {width} |")
    lines.append("")
    for each in done:
        if each.told and each.verdict == "wrong":
            lines.append(
                f"Wrong: {each.kind}, k = {each.blocks}, {'busy' if each.busy else 'quiet'}: "
                f"{_text(each.told)}, true {_text(each.truth)}.\n"
            )
    about = machine()
    lines.append(
        f"A comparison is inside where its 95% interval meets that of the true ratio: 1 for A/A, else "
        f"that of the CPU times of undisturbed calls. One thread, {seconds:g} s a network; "
        f"{about['cpu']}, {about['cores']} cores; onnxruntime {about['packages'].get('onnxruntime')}.\n"
    )
    return "\n".join(lines)


def _text(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--comparisons", type=int, default=40, help="of each kind; half of them busy")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each network in each comparison")
    parser.add_argument("--out", type=Path, default=BENCH, help="the folder for latency.json and latency.md")
    options = parser.parse_args()
    done: list[Comparison] = []
    with TemporaryDirectory() as folder:
        sizes = sorted({*BLOCKS, *(2 * blocks for blocks in BLOCKS)})
        nets = {blocks: chain(Path(folder) / f"{blocks}.onnx", blocks) for blocks in sizes}
        truths = {blocks: true_ratio(nets[2 * blocks], nets[blocks]) for blocks in BLOCKS}
        for index in range(options.comparisons):
            blocks, busy = BLOCKS[index // 2 % len(BLOCKS)], bool(index % 2)
            pairs = {
                "A/A": ({"one": nets[blocks], "other": nets[blocks]}, Interval(1.0, 1.0, 1.0)),
                "k and 2k": ({"one": nets[2 * blocks], "other": nets[blocks]}, truths[blocks]),
            }
            for kind, (files, truth) in pairs.items():
                done.append(compared(kind, busy, blocks, files, truth, index, options.seconds))
                print(
                    f"{len(done)}/{2 * options.comparisons} {kind} {busy=} k={blocks}: {done[-1].verdict}",
                    flush=True,
                )
    content = [{**asdict(each), "verdict": each.verdict} for each in done]
    write_json(
        options.out / "latency.json",
        {"seconds": options.seconds, "machine": machine(), "comparisons": content},
    )
    write_text(options.out / "latency.md", markdown(done, options.seconds))
    print((options.out / "latency.md").read_text())


if __name__ == "__main__":
    main()
