"""What quantization-aware distillation wins back of the FID that quantization costs the CIFAR-10 student.

    python bench/qat.py [--files-only]

The files are made once, into runs/bench-qat (which training wants a GPU for: --files-only makes them and
measures nothing), and anew only where edgegan, the student or the settings have changed since. Writes
bench/qat.json and bench/qat.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import full_run
from made_with import EDGEGAN, made_with

from edgegan.compress.export import export_onnx
from edgegan.compress.inception import extractor_of
from edgegan.compress.load import load_module
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.evaluate.judge import SEED
from edgegan.files import write_json, write_text
from edgegan.measure.features import Reference
from edgegan.measure.machine import machine
from edgegan.measure.metrics.fid import fid_interval
from edgegan.measure.metrics.psnr import psnr
from edgegan.measure.outputs import Outputs, collect
from edgegan.recipe import Recipe
from edgegan.target import FOLDER as TARGETS

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "runs" / "bench-qat"
SAMPLES, THREADS = 10_000, 2
GOAL = 0.5
TRAINING = {"steps": 1000, "batch": 128, "learning_rate": 3e-4}
"""Chosen on latents of seed 2, as are the defaults of the other settings."""
PLAIN: dict[str, Any] = {"quality": {}, "equalize": False, "gptq": False, "bias_correction": False}
STOCK = {"calibrator": "minmax", **PLAIN}
CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "x64-cpu": ("as edgegan quantizes for x64-cpu", 7, {}),
    "x64-cpu min-max": ("x64-cpu as stock tools do: ranges by min-max, nothing else", 7, STOCK),
    "4-bit weights": ("as edgegan quantizes, with weights of 4 bits", 4, {}),
    "4-bit min-max": ("as stock tools do, with weights of 4 bits", 4, STOCK),
}
"""Name to (what it is, bits of the weights, settings of the stage)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files-only", action="store_true", help="make the files, and measure nothing")
    arguments = parser.parse_args()
    recipe = full_run.recipe(full_run.EIGHTH)
    candidate = first_candidate(recipe)
    files = {name: files_of(candidate, name) for name in CASES}
    if arguments.files_only:
        return
    content = measure(recipe, candidate, files)
    write_json(ROOT / "bench" / "qat.json", content)
    write_text(ROOT / "bench" / "qat.md", markdown(content))
    print((ROOT / "bench" / "qat.md").read_text())


def first_candidate(recipe: Recipe) -> Candidate:
    """Return the recipe's distilled student, with its teacher and the discriminator that it inherits."""
    assert recipe.discriminator is not None
    teacher = load_module(recipe.model, recipe.folder)
    critic = load_module(recipe.discriminator, recipe.folder)
    return Candidate(full_run.student(full_run.EIGHTH), teacher, recipe.contract, critic)


def files_of(candidate: Candidate, name: str) -> dict[str, Path]:
    """Return the folders of a case's calibrated and trained files, made where they are not there."""
    _, bits, settings = CASES[name]
    target = FILES / f"x64-cpu-{bits}-bit.yaml"
    text = (TARGETS / "x64-cpu.yaml").read_text()
    write_text(target, text.replace("weight_bits: 7", f"weight_bits: {bits}"))
    folders = {}
    for kind, training in (("ptq", None), ("qat", TRAINING)):
        folders[kind] = FILES / name.replace(" ", "-") / kind
        chosen = QuantizeSettings.model_validate({**settings, "targets": [str(target)], "distill": training})
        make(candidate, chosen, target, folders[kind])
    return folders


def make(candidate: Candidate, settings: QuantizeSettings, target: Path, folder: Path) -> None:
    """Run the stage in `folder`, unless it holds what these settings give."""
    plain = [settings.model_dump(mode="json", exclude={"targets"}), target.read_text()]
    key = made_with((*EDGEGAN, "recipes/cifar10/*.py"), candidate.student, plain)
    mark = folder / "key"
    if mark.is_file() and mark.read_text() == key:
        return
    stage = Quantize(settings)
    stage.requires(candidate)

    def progress(done: int, total: int) -> None:
        if done % 100 == 0:
            print(f"{folder.parent.name} {folder.name}: {done} of {total}", flush=True)

    after = stage.run(candidate, Context(folder, progress=progress))
    stage.ensures(candidate, after)
    record = after.lineage[-1]
    write_json(folder / "record.json", {"proof": record.proof["int8"], "seconds": record.seconds})
    write_text(mark, key)


def measure(recipe: Recipe, candidate: Candidate, files: dict[str, dict[str, Path]]) -> dict[str, Any]:
    """Return every figure."""
    assert recipe.quality is not None
    assert recipe.quality.reference is not None
    extractor = extractor_of(recipe, threads=THREADS)
    assert extractor is not None
    reference = Reference.load(recipe.path(recipe.quality.reference), extractor).statistics
    full = FILES / "model.fp32.onnx"
    export_onnx(candidate.student, candidate.contract, full)

    def outputs(path: Path) -> Outputs:
        return collect(
            path, recipe.contract, samples=SAMPLES, seed=SEED, extractor=extractor, threads=THREADS
        )

    base = outputs(full)
    (image,) = base.kept

    def figures(folder: Path) -> dict[str, Any]:
        ours = outputs(folder / "model.int8.onnx")
        record = json.loads((folder / "record.json").read_text())
        proof = record["proof"]
        return {
            "fid_10k": fid_interval(ours.features[image], reference).to_dict(),
            "psnr_db": psnr(ours.kept[image], base.kept[image]).to_dict(),
            "within_one_step": proof["within_one_step"],
            "graph_within_one_step": proof["graph_within_one_step"],
            "seconds": record["seconds"],
        }

    float_fid = fid_interval(base.features[image], reference).to_dict()
    cases = []
    for name, folders in files.items():
        ptq, qat = figures(folders["ptq"]), figures(folders["qat"])
        lost = ptq["fid_10k"]["value"] - float_fid["value"]
        won = ptq["fid_10k"]["value"] - qat["fid_10k"]["value"]
        what, bits, _ = CASES[name]
        measurable = ptq["fid_10k"]["low"] > float_fid["high"]
        share = round(won / lost, 3) if measurable else None
        cases.append(
            {"case": name, "what": what, "weight_bits": bits, "ptq": ptq, "qat": qat, "closed": share}
        )
    protocol = {
        "samples": SAMPLES,
        "seed": SEED,
        "features": extractor.name,
        "training": TRAINING,
        "goal": GOAL,
        "machine": machine(),
    }
    return {"protocol": protocol, "fp32": {"fid_10k": float_fid}, "cases": cases}


def markdown(content: dict[str, Any]) -> str:
    """Return the figures as a table, and what to make of them."""
    fp32, training = content["fp32"]["fid_10k"], content["protocol"]["training"]
    lines = [
        f"FID of 10,000 images, with 95% intervals; FP32 has {interval(fp32)}. PSNR is to its images.",
        "",
        "| weights and ranges | FID, calibrated | FID, trained | loss closed | dB, before | after |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for case in content["cases"]:
        ptq, qat, closed = case["ptq"], case["qat"], case["closed"]
        share = "no measurable loss" if closed is None else f"{closed:.0%}"
        lines.append(
            f"| {case['what']} | {interval(ptq['fid_10k'])} | {interval(qat['fid_10k'])} | {share} "
            f"| {ptq['psnr_db']['value']:.1f} | {qat['psnr_db']['value']:.1f} |"
        )
    met = [case["closed"] >= GOAL for case in content["cases"] if case["closed"] is not None]
    least = min(case[kind]["within_one_step"] for case in content["cases"] for kind in ("ptq", "qat"))
    lines += [
        "",
        f"Training: {training['steps']} steps of {training['batch']} images, towards the float student's "
        "own images and their features in the inherited discriminator; where FID ends below FP32's, more "
        "than 100% is closed. Settings were chosen on other latents.",
        f"Goal: at least {GOAL:.0%} closed where calibration loses anything: {sum(met)} of {len(met)} cases.",
        f"Each file gives at least {least:.2%} of its graph's output values within one step of 1/255.",
    ]
    return "\n".join(lines) + "\n"


def interval(figure: dict[str, float]) -> str:
    """Return a figure with its 95% interval."""
    return f"{figure['value']:.4f} ({figure['low']:.4f} to {figure['high']:.4f})"


if __name__ == "__main__":
    main()
