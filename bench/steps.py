"""Steps per second of learning, launched piece by piece and captured, and whether the losses stay the same.

    python bench/steps.py [--steps N] [--batch N]

Distils the pruned student of recipes/cifar10 and trains a fresh teacher on images of the shipped one, each
both ways from the same seed, and the first way from a second seed, as a measure of what a seed is worth.
Without an NVIDIA GPU there is one way only: give few steps, of few samples. Each run is kept in
runs/bench-steps, and not made again. Writes bench/steps.json and bench/steps.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import full_run
import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from edgegan.compress import structure
from edgegan.compress.load import build_module, load_module
from edgegan.files import write_json, write_text
from edgegan.learning import devices
from edgegan.learning.algorithm import Algorithm
from edgegan.learning.algorithms.distillation import Distillation
from edgegan.learning.algorithms.gan import AdversarialTraining
from edgegan.learning.algorithms.settings import DistillationSettings, GanSettings
from edgegan.learning.checkpoint import Checkpoint
from edgegan.learning.log import Log
from edgegan.learning.loop import Loop
from edgegan.measure.machine import machine
from edgegan.reading import read_json

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "runs" / "bench-steps"
RECIPE = full_run.recipe(full_run.FULL)
IMAGES = 4096
LOG_EVERY = 10
"""Steps in a point of a curve, and the steps, at the start of a run, that are not timed."""
CURVES = ((False, 0), (True, 0), (False, 1))
"""Whether captured, and the seed."""


def distillation(settings: dict[str, Any], seed: int, fabric: Fabric) -> Distillation:
    """Return the recipe's distillation, of its pruned student."""
    teacher = load_module(RECIPE.model, RECIPE.folder)
    pruned = full_run.kept(full_run.FULL) / "01-prune"
    student = structure.load(load_module(RECIPE.model, RECIPE.folder), pruned)
    assert RECIPE.discriminator is not None
    critic = load_module(RECIPE.discriminator, RECIPE.folder)
    section = next(stage.settings for stage in RECIPE.stages if stage.name == "distill")
    chosen = DistillationSettings.model_validate({**section, **settings})
    return Distillation(student, teacher, critic, RECIPE.contract, chosen, fabric, seed)


def adversarial(settings: dict[str, Any], seed: int, fabric: Fabric) -> AdversarialTraining:
    """Return the recipe's training, of fresh networks on images of the shipped teacher."""
    torch.manual_seed(seed)
    assert RECIPE.discriminator is not None
    generator = build_module(RECIPE.model, RECIPE.folder)
    discriminator = build_module(RECIPE.discriminator, RECIPE.folder)
    known = {key: value for key, value in (RECIPE.train or {}).items() if key in GanSettings.model_fields}
    images, labels = teacher_images(fabric.device)
    chosen = GanSettings.model_validate({**known, **settings})
    return AdversarialTraining(
        generator, discriminator, RECIPE.contract, images, labels, chosen, fabric, seed
    )


@torch.no_grad()
def teacher_images(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return images of the shipped teacher, uint8, and their labels."""
    teacher = load_module(RECIPE.model, RECIPE.folder).to(device)
    count = IMAGES if device.type == "cuda" else 64
    latents, labels = (torch.from_numpy(array) for array in RECIPE.contract.sample(count, 0).values())
    parts = zip(latents.split(64), labels.split(64))
    images = torch.cat([teacher(z.to(device), y.to(device)) for z, y in parts])
    return ((images + 1) * 127.5).round().to(torch.uint8), labels


ALGORITHMS: dict[str, Callable[[dict[str, Any], int, Fabric], Algorithm]] = {
    "distillation": distillation,
    "adversarial training": adversarial,
}


def measure(name: str, captured: bool, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the steps per second of a run and its losses; one that was made before is read."""
    steps, batch = settings["steps"], settings["batch"]
    way = "captured" if captured else "launched"
    file = RUNS / f"{name.replace(' ', '-')}-{way}-{seed}-{steps}x{batch}.json"
    if file.is_file():
        return read_json(file)
    fabric = devices.launch("auto", alone=True)
    times: list[float] = []

    def observe(done: int) -> dict[str, float]:
        if done in (LOG_EVERY, steps):
            if fabric.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter())
        return {}

    with devices.arithmetic(deterministic=True):
        algorithm = ALGORITHMS[name](settings, seed, fabric)
        log = Log(file.with_suffix(".jsonl"))
        loop = Loop(
            algorithm,
            fabric,
            steps=steps,
            seed=seed,
            checkpoint=Checkpoint(file.with_suffix("")),
            log=log,
            log_every=LOG_EVERY,
            observe=observe,
            capture=captured,
        )
        loop.run()
        loop.checkpoint.remove()
    found = {
        "algorithm": name,
        "captured": captured,
        "refusal": loop.refusal,
        "seed": seed,
        "steps": steps,
        "batch": batch,
        "steps_per_second": (steps - LOG_EVERY) / (times[-1] - times[0]) if len(times) == 2 else None,
        "losses": log.rows,
    }
    write_json(file, found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=256)
    settings = vars(parser.parse_args())
    cuda = torch.cuda.is_available()
    runs = [
        measure(name, captured, seed, settings)
        for name in ALGORITHMS
        for captured, seed in CURVES
        if cuda or not captured
    ]
    protocol = {
        "machine": machine(),
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "torch": torch.__version__,
        **settings,
    }
    write_json(ROOT / "bench" / "steps.json", {"protocol": protocol, "runs": runs})
    write_text(ROOT / "bench" / "steps.md", markdown(protocol, runs))
    print((ROOT / "bench" / "steps.md").read_text())


def markdown(protocol: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    """Return the table: milliseconds of a step, and how far the loss curves are apart."""
    lines = [
        "| learning | launched, ms a step | captured, ms a step | times as fast | losses apart | two seeds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in ALGORITHMS:
        found = {(run["captured"], run["seed"]): run for run in runs if run["algorithm"] == name}
        seconds = {key: 1 / run["steps_per_second"] for key, run in found.items() if run["steps_per_second"]}
        launched, captured, other = CURVES
        cells = [f"{1000 * seconds[key]:.1f}" if key in seconds else "" for key in (launched, captured)]
        both = launched in seconds and captured in seconds
        cells.append(f"{seconds[launched] / seconds[captured]:.1f}" if both else "")
        for key in (captured, other):
            there = key in found
            cells.append(f"{100 * apart(found[launched], found[key]):.2g}%" if there else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        f"`python bench/steps.py` on {protocol['gpu'] or 'a CPU'}, torch {protocol['torch']}: "
        f"{protocol['steps']} steps of {protocol['batch']}, of `recipes/cifar10`; the first {LOG_EVERY} are "
        "not timed. How far two runs' losses are apart is the mean over the losses of the mean distance of "
        f"their curves (a point is the mean of {LOG_EVERY} steps), as a share of the mean loss.",
        *(f"\nNot captured: {run['algorithm']}: {run['refusal']}." for run in runs if run["refusal"]),
    ]
    return "\n".join(lines) + "\n"


def apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return the mean over losses of the mean distance of two runs' curves, as a share of the mean loss."""
    shares = []
    for name in one["losses"][0].keys() - {"step"}:
        ours, theirs = (np.array([row[name] for row in run["losses"]]) for run in (one, other))
        shares.append(np.abs(ours - theirs).mean() / np.abs(ours).mean())
    return float(np.mean(shares))


if __name__ == "__main__":
    main()
