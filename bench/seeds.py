"""What the seed is worth: the distillation of recipes/cifar10 --profile full with three seeds.

    python bench/seeds.py [--seed S]

Prunes and distils (6 minutes each on one H100), and writes the FID-10k of each student's ONNX file into
bench/seeds.json and bench/seeds.md. Runs are resumed; with --seed one alone is made, so that several can run
side by side.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import full_run

from edgegan.compress.export import export_onnx
from edgegan.compress.load import load_module
from edgegan.compress.pipeline import Pipeline
from edgegan.compress.recipe_quality import RecipeQuality
from edgegan.compress.stage import Candidate, Context
from edgegan.compress.stages import build_stages
from edgegan.files import write_json, write_text
from edgegan.measure.metrics.fid import FID
from edgegan.reading import read_json

ROOT = Path(__file__).resolve().parents[1]
SEEDS, SAMPLES = (0, 1, 2), 10_000
RUNS = ROOT / "runs" / "bench-seeds"


def measure(seed: int) -> dict[str, Any]:
    """Return a seed's FIDs, of the full model and of the student, and the minutes that distilling took."""
    file = RUNS / f"{seed}.json"
    if file.is_file():
        return read_json(file)
    recipe = full_run.recipe(full_run.FULL).model_copy(update={"seed": seed})
    teacher = load_module(recipe.model, recipe.folder)
    assert recipe.discriminator is not None
    critic = load_module(recipe.discriminator, recipe.folder)
    first = Candidate(teacher, teacher, recipe.contract, critic)
    last = Pipeline(build_stages(recipe)[:2]).run(first, Context(RUNS / str(seed), seed))
    found: dict[str, Any] = {"seed": seed, "minutes": round(last.lineage[-1].seconds / 60, 1)}
    score = RecipeQuality(recipe)
    for name, module in (("full", teacher), ("student", last.student)):
        path = RUNS / f"{seed}-{name}.onnx"
        export_onnx(module, recipe.contract, path)
        found[name] = round(score(path, FID, SAMPLES), 4)
    write_json(file, found)
    return found


def main() -> None:
    os.chdir(ROOT)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, choices=SEEDS, help="make this one alone, and write no table")
    only = parser.parse_args().seed
    if only is not None:
        print(measure(only))
        return
    found = [measure(seed) for seed in SEEDS]
    write_json(ROOT / "bench" / "seeds.json", {"profile": full_run.FULL, "samples": SAMPLES, "runs": found})
    lines = [
        "| seed | FID-10k of the full model | of the student | minutes |",
        "| ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {run['seed']} | {run['full']:.3f} | {run['student']:.3f} | {run['minutes']} |" for run in found
    ]
    lines += ["", "FP32 files, latents of seed 2; distilled on one H100, three runs side by side."]
    write_text(ROOT / "bench" / "seeds.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
