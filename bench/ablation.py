"""What each way to make INT8 better earns: calibrators, equalization, bias correction, adaptive rounding.

    python bench/ablation.py [--data FOLDER]

Writes bench/ablation.json and bench/ablation.md. Third-party networks come from FOLDER, by default
$EDGEGAN_SHARED or ../shared/data. Nothing is timed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import int8_models
from adaround import adaround
from int8 import CALIBRATION, JUDGING, JUDGING_SEED
from int8_models import ROOT, Subject
from int8_table import line

from edgegan import __version__
from edgegan.compress.example_inputs import example
from edgegan.compress.quantize.calibrate.calibrators import Calibrator
from edgegan.compress.quantize.choose import candidates
from edgegan.compress.quantize.choose.candidates import Samples, Start, Trial
from edgegan.compress.quantize.choose.quantized_layers import choose_layers
from edgegan.compress.quantize.improve.bias_correction import Reconstruction, reconstructions
from edgegan.compress.quantize.plan import AUTOMATIC
from edgegan.compress.quantize.prepare.quiet import quiet
from edgegan.compress.quantize.stage import REWRITES
from edgegan.compress.rewrite import rewrite
from edgegan.compress.rewrite.graph import outputs
from edgegan.files import write_json, write_text
from edgegan.measure.machine import machine
from edgegan.target import Target

TARGET = "x64-cpu-vnni"
WAYS = {
    "bias correction": ("bias_correction",),
    "adaptive rounding": ("gptq",),
    "both": ("gptq", "bias_correction"),
    "AdaRound": ("adaround",),
}


def main() -> None:
    with quiet():
        rows = int8_models.rows(__doc__, figures)
    content = {
        "protocol": {
            "edgegan": __version__,
            "machine": machine(),
            "target": TARGET,
            "calibration_samples": CALIBRATION,
            "judging_samples": JUDGING,
        },
        "rows": rows,
    }
    write_json(ROOT / "bench" / "ablation.json", content)
    write_text(ROOT / "bench" / "ablation.md", markdown(content))
    print((ROOT / "bench" / "ablation.md").read_text())


def figures(subject: Subject, _folder: Path) -> dict[str, Any]:
    """Return the dB of each way to quantize, and which way edgegan chose by its own samples."""
    int8 = Target.read(TARGET).int8
    assert int8 is not None
    graph, _ = rewrite(subject.module, subject.calibrating, REWRITES)
    layers = choose_layers(graph, ())
    samples = Samples.of(graph, subject.calibrating, CALIBRATION, seed=0)
    inputs = example(subject.judging, JUDGING, JUDGING_SEED)
    unseen = replace(samples, judging=inputs, expected=outputs(graph, inputs), contract=subject.judging)
    table: list[dict[str, Any]] = []

    def judge(start: Start, calibrator: Calibrator, names: tuple[str, ...] = (), way: Any = None) -> None:
        improvements = [way] if way else []
        quantized = candidates.lower(start, layers, int8, calibrator, samples.batches, improvements)
        trial = Trial(start.equalized, calibrator, improvements=names)
        known = samples.judge(trial, quantized)
        table.append(
            {**unseen.judge(trial, quantized).to_dict(), "calibration_mean_psnr_db": known.mean_psnr_db}
        )

    starts = candidates.starts(graph, samples, "auto")
    for start in starts:
        for calibrator in get_args(Calibrator):
            judge(start, calibrator)
    best = chosen(table)
    start = next(start for start in starts if start.equalized == best["equalized"])
    ways = reconstructions(start.graph, samples.batches, rounding=True, bias=True)
    for names, way in {**ways, ("adaround",): Reconstruction(adaround)}.items():
        judge(start, best["calibrator"], names, way)
    return {"trials": table, "calibrated": best, "chosen": chosen(table)}


def chosen(table: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the trial that edgegan's own choice would fall on."""
    open_to_it = [
        trial
        for trial in table
        if trial["calibrator"] in AUTOMATIC and "adaround" not in trial["improvements"]
    ]
    return max(open_to_it, key=lambda trial: trial["calibration_mean_psnr_db"])


def markdown(content: Mapping[str, Any]) -> str:
    """Return the figures as two tables."""
    rows = [entry for entry in content["rows"] if "absent" not in entry]
    absent = [entry for entry in content["rows"] if "absent" in entry]
    calibrators = get_args(Calibrator)
    lines = _header("model", "channels", *(f"`{name}`" for name in calibrators))
    for entry in rows:
        for equalized, channels in ((False, "as they are"), (True, "equalized")):
            found = [_find(entry, equalized, name, ()) for name in calibrators]
            if any(found):
                cells = [f"{trial['psnr_db']:.1f}" if trial else "" for trial in found]
                lines.append(line("" if equalized else entry["name"], channels, *cells))
    lines += ["", *_header("model", "calibrated", *WAYS, "edgegan chooses")]
    for entry in rows:
        best, winner = entry["calibrated"], entry["chosen"]
        found = [_find(entry, best["equalized"], best["calibrator"], names) for names in WAYS.values()]
        cells = [f"{trial['psnr_db'] - best['psnr_db']:+.2f}" if trial else "" for trial in found]
        lines.append(line(entry["name"], f"{best['psnr_db']:.1f}", *cells, _in_words(winner)))
    protocol = content["protocol"]
    return "\n".join(
        [
            *lines,
            "",
            f"dB of INT8 for {TARGET} to FP32, with the output's range as peak, of "
            f"{protocol['judging_samples']} samples that nothing was calibrated on; the second table's "
            "columns are what each way adds to calibration alone. The Q/DQ graph is run by torch.",
            "",
            f"Calibrated on {protocol['calibration_samples']} samples. edgegan chooses by the mean dB of 64 "
            "more of the same kind, first calibrator and channels, then the ways on top; it does not try "
            "`minmax`, `entropy` and AdaRound, which is there to compare adaptive rounding (GPTQ) with.",
            *(f"\n{entry['name']} is left out: it needs {entry['absent']}." for entry in absent),
            "",
        ]
    )


def _find(
    entry: Mapping[str, Any], equalized: bool, calibrator: str, names: tuple[str, ...]
) -> dict[str, Any] | None:
    wanted = (equalized, calibrator, names)
    for trial in entry["trials"]:
        if (trial["equalized"], trial["calibrator"], tuple(trial["improvements"])) == wanted:
            return trial
    return None


def _in_words(trial: Mapping[str, Any]) -> str:
    names = [f"`{trial['calibrator']}`", *(["equalized"] if trial["equalized"] else [])]
    names += [name.replace("_", " ") for name in trial["improvements"]]
    return f"{trial['psnr_db']:.1f}: {', '.join(names)}"


def _header(*cells: str) -> list[str]:
    return [line(*cells), line(*["---"] * len(cells))]


if __name__ == "__main__":
    main()
