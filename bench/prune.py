"""What pruning costs recipes/cifar10, and what solving the weights wins back, without training.

    python bench/prune.py

Writes bench/prune.json and bench/prune.md: FIDs of each model's ONNX file, on latents that no report uses.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import full_run

from edgegan.compress.export import export_onnx
from edgegan.compress.load import load_module
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.prune.select import Scope
from edgegan.compress.recipe_quality import RecipeQuality
from edgegan.compress.stage import Candidate, Context
from edgegan.files import write_json, write_text
from edgegan.measure.metrics.fid import FID

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "runs" / "bench-prune"
KEPT, SAMPLES = (0.5, 0.25, 0.125, 0.05), 2_000
SCOPES: tuple[Scope, ...] = ("uniform", "global")


def main() -> None:
    os.chdir(ROOT)
    recipe = full_run.recipe(full_run.FULL)
    teacher = load_module(recipe.model, recipe.folder)
    candidate = Candidate(teacher, teacher, recipe.contract)
    measure = RecipeQuality(recipe)

    def score(module: Any, name: str) -> float:
        export_onnx(module, recipe.contract, FILES / f"{name}.onnx")
        return round(measure(FILES / f"{name}.onnx", FID, SAMPLES), 3)

    rows: list[dict[str, Any]] = []
    for macs in KEPT:
        for scope in SCOPES:
            row: dict[str, Any] = {"macs": macs, "scope": scope}
            for reconstruct in (False, True):
                stage = Prune(PruneSettings(macs=macs, scope=scope, reconstruct=reconstruct, align=8))
                after = stage.run(candidate, Context(FILES, recipe.seed))
                proof = after.lineage[-1].proof
                name = "reconstructed" if reconstruct else "pruned"
                row["times_fewer"] = round(proof["before"]["macs"] / proof["after"]["macs"], 1)
                row[name] = score(after.student, f"{macs}-{scope}-{name}")
                row["psnr_db"] = {key: round(value, 1) for key, value in proof["psnr_db"][scope].items()}
                row["seconds"] = round(after.lineage[-1].seconds)
            rows.append(row)
            print(row, flush=True)
    full = score(teacher, "full")
    write_json(ROOT / "bench" / "prune.json", {"samples": SAMPLES, "full": full, "rows": rows})
    lines = [
        "| MACs | scope | FID-2k pruned | reconstructed | PSNR, dB, pruned | reconstructed | seconds |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        psnr = " | ".join(str(row["psnr_db"][key]) for key in ("pruned", "reconstructed"))
        fids = " | ".join(f"{row[key]:.2f}" for key in ("pruned", "reconstructed"))
        lines.append(f"| {row['times_fewer']}x fewer | {row['scope']} | {fids} | {psnr} | {row['seconds']} |")
    lines += [
        "",
        f"The full model has {full:.2f}. Nothing was trained; seconds are of pruning and reconstruction.",
    ]
    write_text(ROOT / "bench" / "prune.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
