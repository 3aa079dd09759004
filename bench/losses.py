"""The adversarial losses on one recipe: recipes/fashion-dcgan trained with each, over three seeds.

    python bench/losses.py DATA [--steps 2000] [--loss LOSS --seed SEED]

DATA is Fashion-MNIST as an npz. Everything but the loss, and its own penalty, is as the recipe says. Writes
the FID-10k of each averaged generator into bench/losses.json and bench/losses.md. Runs are resumed; with
--loss and --seed one alone is made, so that several can run side by side.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from statistics import mean
from typing import Any, get_args

import torch

from edgegan.compress.load import build_module
from edgegan.errors import StageError
from edgegan.files import write_json, write_text
from edgegan.learning.losses.adversarial import Name
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.reading import read_json
from edgegan.recipe import Recipe
from edgegan.train.samples import read_samples
from edgegan.train.settings import TrainSettings
from edgegan.train.teacher import Scorer, TeacherTraining

ROOT = Path(__file__).resolve().parents[1]
LOSSES: tuple[Name, ...] = get_args(Name)
SEEDS = (0, 1, 2)
RUNS = ROOT / "runs" / "bench-losses"
RECIPE = ROOT / "recipes" / "fashion-dcgan"


def measure(loss: str, seed: int, steps: int, data: Path) -> dict[str, Any]:
    """Return the FID that a loss ends at with one seed, or why it did not end."""
    folder = RUNS / f"{loss}-{seed}-{steps}"
    file = folder.with_suffix(".json")
    if file.is_file():
        return read_json(file)
    recipe = Recipe.read(RECIPE)
    assert recipe.discriminator is not None
    assert recipe.quality is not None
    section = {
        **(recipe.train or {}),
        "loss": loss,
        "steps": steps,
        "score_every": steps,
        "sample_every": steps,
    }
    extractor = OnnxExtractor(recipe.path(str(recipe.quality.features)))
    torch.manual_seed(seed)
    training = TeacherTraining(
        build_module(recipe.model, recipe.folder),
        build_module(recipe.discriminator, recipe.folder),
        recipe.contract,
        read_samples(data, recipe.contract.outputs[0]),
        TrainSettings.of(section),
        folder,
        seed=seed,
        scorer=Scorer(extractor, Reference.load(recipe.path(str(recipe.quality.reference)), extractor)),
    )
    begun, found = time.monotonic(), {"loss": loss, "seed": seed}
    try:
        training.run()
        found["fid"] = round(training.log.rows[-1][training.score_names[0]], 4)
    except StageError as error:
        found["failed"] = error.what
    write_json(file, {**found, "minutes": round((time.monotonic() - begun) / 60, 1)})
    return read_json(file)


def table(runs: list[dict[str, Any]], steps: int) -> str:
    """Return the runs as Markdown, the best loss first."""
    rows = []
    for loss in LOSSES:
        of_loss = [run for run in runs if run["loss"] == loss]
        fids = [run["fid"] for run in of_loss if "fid" in run]
        cells = [f"{run['fid']:.3f}" if "fid" in run else "diverged" for run in of_loss]
        known = f"{mean(fids):.3f} [{min(fids):.3f}, {max(fids):.3f}]" if fids else "–"
        rows.append((mean(fids) if fids else float("inf"), [loss, *cells, known]))
    heads = ["loss", *(f"seed {seed}" for seed in SEEDS), "mean [lowest, highest]"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    lines += ["| " + " | ".join(cells) + " |" for _, cells in sorted(rows)]
    told = f"FID-10k in the features of `recipes/fashion-dcgan`, after {steps:,} steps, latents of seed 1."
    return "\n".join([*lines, "", told]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--loss", choices=LOSSES, help="make this one alone, and write no table")
    parser.add_argument("--seed", type=int, choices=SEEDS, default=0)
    given = parser.parse_args()
    data = given.data.resolve()
    os.chdir(ROOT)
    if given.loss:
        print(measure(given.loss, given.seed, given.steps, data))
        return
    runs = [measure(loss, seed, given.steps, data) for loss in LOSSES for seed in SEEDS]
    write_json(ROOT / "bench" / "losses.json", {"steps": given.steps, "runs": runs})
    write_text(ROOT / "bench" / "losses.md", table(runs, given.steps))


if __name__ == "__main__":
    main()
