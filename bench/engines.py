"""Whether `edgegan bench` tells the same ratios on a quiet machine and beside two busy processes.

    python bench/engines.py

Measures the student of `recipes/cifar10 --profile full`, which bench/cifar10-full keeps, in float and in
INT8 as the recipe makes it for each engine, on ONNX Runtime and OpenVINO, at batch 1 and 8: once as the
machine is, which should be quiet, and once beside two processes that take all the CPU that they get. Engines
have one thread: of two cores, two threads have less than both beside others, and what they take is withheld.
Writes bench/engines.json and engines.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import full_run
from latency_check import beside

from edgegan import bench
from edgegan.compress.int8_targets import for_targets
from edgegan.compress.recipe_quality import RecipeQuality
from edgegan.compress.stage import Candidate, Context
from edgegan.compress.stages import build_stages
from edgegan.evaluate.record import BenchRecord, BenchRow
from edgegan.files import write_json, write_text
from edgegan.measure.statistics import Interval
from edgegan.report.format import number
from edgegan.runtime import write_bundle

BENCH = Path(__file__).parent
ENGINES = ("onnxruntime", "openvino")
TARGETS = ("x64-cpu", "openvino-cpu")
BASELINE = "baseline"


def bundle(folder: Path) -> Path:
    """Write the student in float, and in INT8 for each engine, as the recipe's stages make it."""
    recipe, student = for_targets(full_run.recipe(full_run.FULL), TARGETS), full_run.student(full_run.FULL)
    made, quality = Candidate(student, student, recipe.contract), RecipeQuality(recipe)
    for stage in build_stages(recipe):
        if stage.name in ("quantize", "export"):
            print(stage.name, flush=True)
            (folder / stage.name).mkdir()
            made = stage.run(made, Context(folder / stage.name, recipe.seed, quality=quality))
    name, contract, models = recipe.name, recipe.contract, made.artifacts
    return write_bundle(folder / name, name=name, contract=contract, models=models, default="fp32").folder


def verdict(quiet: BenchRow, busy: BenchRow) -> str:
    """Say whether the two speed-ups agree within their intervals, or why that cannot be said."""
    told = [row.interval("speedup") for row in (quiet, busy)]
    for when, speedup in zip(("quiet", "busy"), told):
        if speedup is None:
            return f"withheld: {when}"
    if quiet.label == quiet.relative_to == busy.relative_to:
        return BASELINE
    if quiet.relative_to != busy.relative_to:
        return f"not comparable: over {quiet.relative_to}, and over {busy.relative_to}"
    first, second = told
    assert first is not None
    assert second is not None
    return "agree" if first.low <= second.high and second.low <= first.high else "disagree"


def markdown(quiet: BenchRecord, busy: BenchRecord) -> str:
    """Return the table of both records."""
    lines = ["| | p50 ms | samples/s | speed-up, quiet | speed-up, busy | disturbed calls | |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    verdicts = []
    for row, beside_it in zip(quiet.rows, busy.rows):
        if row.unmeasured:
            continue
        verdicts.append(verdict(row, beside_it))
        told = [each.interval("speedup") for each in (row, beside_it)]
        cells = [_number(row, "latency_ms_p50"), _number(row, "samples_per_s")]
        cells += [_interval(each) if each else "withheld" for each in told]
        cells += [f"{_disturbed(row)}, {_disturbed(beside_it)}", verdicts[-1]]
        lines.append(f"| {row.label} | {' | '.join(cells)} |")
    compared = [each for each in verdicts if each != BASELINE]
    counts = [f"{compared.count(word)} {word}" for word in ("agree", "disagree")]
    others = len(compared) - compared.count("agree") - compared.count("disagree")
    protocol, baselines = quiet.protocol, {row.relative_to: None for row in quiet.rows if row.relative_to}
    engines = {row.engine_version: None for row in quiet.rows if row.engine_version}
    lines += [
        "",
        f"Of {len(compared)} rows {', '.join(counts)}, {others} cannot be told. Speed-ups are over "
        f"{' and '.join(map(str, baselines))}; brackets hold 95% intervals. "
        f"{protocol.latency_seconds:g} s a row, threads: {protocol.threads}; "
        f"{protocol.machine['cpu']}, {protocol.machine['cores']} cores; "
        f"{', '.join(map(str, engines))}.",
    ]
    return "\n".join(lines) + "\n"


def _interval(told: Interval) -> str:
    return f"{number(told.value)} [{number(told.low)}, {number(told.high)}]"


def _number(row: BenchRow, key: str) -> str:
    value = row.number(key)
    return "–" if value is None else number(value)


def _disturbed(row: BenchRow) -> str:
    kept, left_out = row.number("iterations") or 0, row.number("disturbed") or 0
    return f"{left_out / max(1, kept + left_out):.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row")
    parser.add_argument("--out", type=Path, default=BENCH, help="where the files go")
    options = parser.parse_args()
    records = []
    with TemporaryDirectory() as folder:
        made = bundle(Path(folder))
        for busy in (False, True):
            with beside(busy):
                records.append(
                    bench(
                        made,
                        engines=ENGINES,
                        batches=(1, 8),
                        threads=1,
                        seconds=options.seconds,
                        follow=_told,
                    )
                )
    write_json(options.out / "engines.json", [record.to_dict() for record in records])
    write_text(options.out / "engines.md", markdown(*records))
    print((options.out / "engines.md").read_text())


def _told(step: str) -> Callable[[int, int], None]:
    print(step, flush=True)
    return lambda done, total: None


if __name__ == "__main__":
    main()
