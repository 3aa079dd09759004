"""The figures of int8.py as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

FASTER, BETTER_DB = 1.3, 3.0
TITLES = {
    "fp32": "FP32",
    "stock": "INT8, stock",
    "edgegan": "INT8, edgegan for x64-cpu",
    "edgegan_vnni": "INT8, edgegan for x64-cpu-vnni",
    "stock_equal": "INT8, stock at equal coverage",
}
OURS = ("edgegan", "edgegan_vnni")
Figures = Mapping[str, Any]


def markdown(content: Figures) -> str:
    """Return the table, the verdicts, the bound, and how it was measured."""
    rows = [row for row in content["rows"] if "absent" not in row]
    absent = [row for row in content["rows"] if "absent" in row]
    batches = list(content["bound"]["latency"]["fp32"])
    heads = [f"times faster than FP32, batch {batch}" for batch in batches]
    lines = [
        line("model", "file", *heads, "PSNR to FP32, dB", "MACs in INT8 kernels"),
        line(*["---"] * (4 + len(batches))),
        *(_file(row["name"], file, figures) for row in rows for file, figures in row["files"].items()),
        "",
        line("INT8 by edgegan", "never slower than FP32", "1.3 times faster", "3 dB better than stock"),
        line(*["---"] * 4),
        *(_verdict(row) for row in rows),
        "",
        *(f"{row['name']} is left out: it needs {row['absent']}.\n" for row in absent),
        *(f"{paragraph}\n" for paragraph in _notes(content)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def line(*cells: str) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def _file(model: str, file: str, figures: Figures) -> str:
    times = figures["latency"].values()
    if file == "fp32":
        return line(model, TITLES[file], *(_milliseconds(latency) for latency in times), "", "")
    quality = f"{figures['psnr_db']:.1f}", f"{figures['int8_macs_share']:.1%}"
    return line("", TITLES[file], *(_ratio(latency) for latency in times), *quality)


def _milliseconds(latency: Figures) -> str:
    return _why_not(latency, "latency") or f"{latency['latency_ms_p50']:.3g} ms"


def _ratio(latency: Figures) -> str:
    if reason := _why_not(latency, "speedup"):
        return reason
    speedup = latency["speedup"]
    return f"{speedup['value']:.2f} ({speedup['low']:.2f} to {speedup['high']:.2f})"


def _why_not(latency: Figures, figure: str) -> str | None:
    """Return why a figure is not told, where it is not."""
    withheld = latency.get("withheld") or {}
    reason = withheld.get(figure) or withheld.get("latency")
    return latency.get("failed") or (f"withheld: {reason}" if reason else None)


def _verdict(row: Figures) -> str:
    """Judge a generator by the worst batch of the best target; not slower is what surely is not."""
    file = [file for file in OURS if file in row["files"]][-1]
    figures, stock = row["files"][file], row["files"]["stock_equal"]
    speedups = [latency["speedup"] for latency in figures["latency"].values() if latency.get("speedup")]
    least = min(speedups, key=lambda speedup: speedup["value"], default=None)
    gain = figures["psnr_db"] - stock["psnr_db"]
    speed = ["withheld"] * 2
    if least:
        met = least["low"] >= 1, least["value"] >= FASTER
        speed = [_answer(each, f"{least['value']:.2f}") for each in met]
    cells = [*speed, _answer(gain >= BETTER_DB, f"{gain:+.1f} dB")]
    if gain < BETTER_DB:
        worst = row["sensitivity"][0]
        cells[-1] += f"; in the way: `{worst['layer']}`, alone at {worst['psnr_db']:.1f} dB"
    return line(row["name"], *cells)


def _answer(met: bool, figure: str) -> str:
    return f"{'yes' if met else 'no'} ({figure})"


def _notes(content: Figures) -> Iterator[str]:
    protocol, bound = content["protocol"], content["bound"]
    machine = protocol["machine"]
    batches = bound["latency"]["int8"].items()
    peaks = ", ".join(f"{_ratio(latency)} at batch {batch}" for batch, latency in batches)
    yield f"The bound that this CPU sets: {bound['what']}, times faster: {peaks}."
    yield (
        "Stock is `onnxruntime.quantization.quantize_static` with its defaults, after `quant_pre_process`, "
        "on the FP32 file and the same samples, run as a session of default settings runs it. At equal "
        "coverage it gets edgegan's rewritten graph, and leaves in float the layers that edgegan does."
    )
    yield (
        "edgegan's files are made without a budget (`quality: {}`): all that can be is in INT8. By default "
        "it leaves layers in float until 40 dB are held, as `bench/zoo.md` has it."
    )
    yield (
        f"PSNR is of {protocol['judging_samples']} samples that nothing was calibrated on, with the output's "
        "range as peak; photographs are crops of monet to calibrate on, and of Set14 to judge by. Ratios are "
        "of interleaved turns, averaged over processes started anew, with the intervals that a repeat falls "
        "into 19 times in 20. Verdicts are of the worse batch, and of x64-cpu-vnni where the CPU has VNNI."
    )
    yield (
        f"{protocol['threads']} threads; {machine['cpu']}, {machine['cores']} cores with "
        f"{', '.join(machine['flags'])}; onnxruntime {machine['packages'].get('onnxruntime')}."
    )
