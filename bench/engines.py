"""Whether `edgegan bench` tells the same ratios on a quiet machine and beside two busy processes.

    python bench/engines.py

Measures the bundle of `edgegan compress recipes/cifar10 --profile full`, which is made where it is absent,
on ONNX Runtime and OpenVINO, float and INT8, at batch 1 and 8: once as the machine is, which should be quiet,
and once beside two processes that take all the CPU that they get. Writes bench/engines.json and engines.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import full_run
from latency_check import beside

from edgegan import bench, compress_generator
from edgegan.evaluate.record import BenchRecord, BenchRow
from edgegan.files import write_json, write_text
from edgegan.measure.statistics import Interval
from edgegan.report.format import number

ROOT = Path(__file__).resolve().parents[1]
ENGINES = ("onnxruntime", "openvino")


def verdict(quiet: BenchRow, busy: BenchRow) -> str:
    """Say whether the two speed-ups agree within their intervals, or why that cannot be said."""
    told = [row.interval("speedup") for row in (quiet, busy)]
    for when, row, speedup in zip(("quiet", "busy"), (quiet, busy), told):
        if speedup is None:
            reasons = [*row.withheld.values(), *row.failed.values(), row.unmeasured]
            return f"{when}: {next(filter(None, reasons), 'no speed-up')}"
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
    counts = [f"{verdicts.count(word)} {word}" for word in ("agree", "disagree")]
    others = len(verdicts) - verdicts.count("agree") - verdicts.count("disagree")
    protocol, baselines = quiet.protocol, {row.relative_to: None for row in quiet.rows if row.relative_to}
    engines = {row.engine_version: None for row in quiet.rows if row.engine_version}
    lines += [
        "",
        f"Of {len(verdicts)} rows {', '.join(counts)}, {others} cannot be told. Speed-ups are over "
        f"{' and '.join(map(str, baselines))}; brackets hold 95% intervals. "
        f"{protocol.latency_seconds:g} s a row, {protocol.threads} threads; "
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
    parser.add_argument("--bundle", type=Path, help="another bundle than that of the full profile")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row")
    parser.add_argument("--engines", default=",".join(ENGINES), help="names, with commas between")
    parser.add_argument("--out", type=Path, default=ROOT / "bench", help="where the files go")
    options = parser.parse_args()
    options.out = options.out.resolve()
    bundle: Path | None = options.bundle
    if bundle is None:
        os.chdir(ROOT)
        full_run.begin(full_run.FULL)
        bundle = compress_generator("recipes/cifar10", profile=full_run.FULL).bundle
        assert bundle is not None
    records = []
    for busy in (False, True):
        with beside(busy):
            records.append(
                bench(
                    bundle,
                    engines=options.engines.split(","),
                    batches=(1, 8),
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
