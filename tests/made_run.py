"""A run folder such as `edgegan compress` leaves, with smooth random images."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgegan.files import write_json
from edgegan.measure.latency import Latency
from edgegan.measure.statistics import Interval
from edgegan.run.figures import Figure, Figures, Protocol, Row
from edgegan.run.folder import RECORD, SAMPLES, STAGES, write_description, write_figures, write_findings
from edgegan.run.records import Description, Finding, Findings, StageRecord
from edgegan.run.typed import from_plain

MACHINE = {
    "cpu": "AMD EPYC 7B13",
    "cores": 2,
    "flags": ["avx2"],
    "ram_gib": 15.6,
    "os": "Linux 6.1",
    "python": "3.11.9",
    "onnxruntime": "1.32.0",
}

PROTOCOL = Protocol(
    engine="onnxruntime 1.32.0 CPU",
    threads=2,
    batch=1,
    samples=10000,
    seed=1,
    features="features.onnx 1a2b3c4d",
    reference="cifar10-train 50000",
    machine=MACHINE,
)


def row(name: str, label: str, stage: str | None, figures: dict[str, Any], **facts: Any) -> Row:
    precision = name if name in ("fp16", "int8") else "fp32"
    measured = from_plain(dict[str, Figure | None], figures)
    return Row(name=name, label=label, stage=stage, precision=precision, measured=measured, **facts)


def latency(p50: float, speedup: Interval | None) -> dict[str, Any]:
    times = Latency(
        p50=p50,
        p90=p50 * 1.06,
        p99=p50 * 1.31,
        cv=0.043,
        end_to_end_ms_p50=p50 + 0.21,
        speedup=speedup,
        load_ms=31.5,
        peak_rss_mib=96.25,
    )
    return {key: value for key, value in times.to_dict().items() if key not in ("withheld", "warnings")}


def quality(fid: Interval, psnr: Interval | None, ssim: Interval | None) -> dict[str, Any]:
    return {
        "fid_10k": fid.to_dict(),
        "kid_10k": {bound: value / 9e3 for bound, value in fid.to_dict().items()},
        "precision_10k": 0.7312,
        "recall_10k": 0.6127,
        "psnr_db": psnr and psnr.to_dict(),
        "ssim": ssim and ssim.to_dict(),
    }


def make_figures() -> Figures:
    small = {"params": 912_331, "macs": 41_204_736}
    rows = (
        row(
            "full", "full model", None,
            latency(9.81, None) | quality(Interval(6.21, 6.05, 6.36), None, None),
            file="full.onnx", params=8_270_083, macs=415_236_096, file_bytes=33_120_400,
        ),
        row(
            "prune", "after prune", "prune",
            latency(2.41, Interval(4.07, 3.93, 4.19))
            | quality(
                Interval(141.2, 139.5, 143.0), Interval(12.4, 12.3, 12.6), Interval(0.214, 0.209, 0.219)
            ),
            file="prune.onnx", file_bytes=3_701_200, **small,
        ),
        row(
            "fp32", "FP32 (after distill)", None,
            latency(2.39, Interval(4.1, 3.94, 4.22))
            | quality(
                Interval(6.74, 6.58, 6.9), Interval(24.11, 23.95, 24.28), Interval(0.871, 0.868, 0.874)
            ),
            file="model.fp32.onnx", file_bytes=3_701_200, **small,
        ),
        row(
            "fp16", "FP16", None,
            quality(Interval(6.75, 6.59, 6.9), Interval(24.11, 23.94, 24.28), Interval(0.871, 0.868, 0.874)),
            file="model.fp16.onnx", file_bytes=1_874_002, **small,
            failed={"latency": "this engine runs FP16 convolutions in FP32, with a cast on each side"},
        ),
        row(
            "int8", "INT8", None,
            latency(1.62, Interval(6.05, 5.78, 6.31))
            | quality(
                Interval(6.98, 6.81, 7.14), Interval(23.72, 23.55, 23.9), Interval(0.862, 0.859, 0.866)
            ),
            file="model.int8.onnx", file_bytes=1_012_448, **small,
            warnings=("latency varies by 4.3%: other work may have run on the machine",),
        ),
    )  # fmt: skip
    return Figures(PROTOCOL, rows)


LAYERS = ["seed", *(f"blocks.{block}.conv{n}" for block in range(5) for n in (1, 2))]

RECORDS = {
    "01-prune": StageRecord(
        stage="prune",
        settings={"macs": 0.1, "align": 8, "importance": "magnitude", "scope": "global"},
        changed={
            "widths": {
                "linear": [4096, 1280],
                **{f"blocks.{i}.conv{j}": [256, 104 - 16 * i] for i in range(3) for j in (1, 2)},
            },
            "kept": {"linear.weight": {"0": list(range(1280))}},
            "whole": {"output": "the output layer", "embedding": "the label embedding"},
        },
        proof={
            "largest_difference": 2.4e-6,
            "samples": 8,
            "before": {"params": 8_270_083, "macs": 415_236_096},
            "after": {"params": 912_331, "macs": 41_204_736},
        },
        seconds=4.21,
    ),
    "02-distill": StageRecord(
        stage="distill",
        settings={
            "steps": 20000,
            "batch": 64,
            "losses": {"output": 10.0, "features": 1.0, "adversarial": 0.1},
        },
        changed={"weights": "all", "taps": ["blocks.0", "blocks.1", "blocks.2"]},
        proof={"held_out_psnr_db": {"before": 12.4, "after": 24.1, "samples": 256}, "warnings": []},
        seconds=5423.0,
    ),
    "03-quantize": StageRecord(
        stage="quantize",
        settings={"bits": 8, "calibration": 512},
        changed={
            "int8": {
                "target": "x64-cpu",
                "precisions": {**dict.fromkeys(LAYERS, "int8"), "blocks.1.conv2": "float"},
            },
            "kept_in_float": ["output"],
            "rewrites": [
                {"rewrite": "fold norm", "layer": f"blocks.{i}.norm", "detail": "into the conv"}
                for i in range(15)
            ],
        },
        proof={
            "int8": {
                "psnr_db": 38.2,
                "finite": True,
                "int8_layers": [layer for layer in LAYERS if layer != "blocks.1.conv2"],
                "float_layers": ["blocks.1.conv2", "output"],
                "int8_macs_share": 0.9312,
                "operators": {"QLinearConv": 11, "Conv": 2, "Tanh": 1},
                "trials": [{"calibrator": "mse", "psnr_db": 34.1}, {"calibrator": "mae", "psnr_db": 33.0}],
                "sensitivity": [
                    {
                        "layer": layer,
                        "macs_share": 0.08,
                        "psnr_db": 41.0 + index if layer != "blocks.1.conv2" else 35.5,
                        **({"fid_5k_increase": 0.0412} if layer == "blocks.1.conv2" else {}),
                    }
                    for index, layer in enumerate(LAYERS)
                ],
                "quality_trials": [
                    {"layer": "none", "psnr_db": 34.1, "score": 0.8525},
                    {"layer": "blocks.1.conv2", "psnr_db": 40.2, "score": 1.0},
                ],
            }
        },
        seconds=41.7,
    ),
    "04-export": StageRecord(
        stage="export",
        settings={"opset": 20},
        changed={"files": {"fp32": "model.fp32.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}},
        proof={"largest_difference": {"fp32": 1.1e-6, "fp16": 0.0021, "int8": 0.094}},
        seconds=12.9,
    ),
}

LINT = (
    Finding(
        "warning",
        "blocks.0.up",
        "nearest up-sampling by 2 before a 3x3 convolution",
        "The convolution runs at the larger size.",
        "nothing to do: pruning takes most of it",
    ),
    Finding("info", "", "Tanh at the output stays in float", "", ""),
)

DESCRIPTION = Description(
    name="cifar10",
    description="A class-conditional generator of 32x32 colour images.",
    profile="full",
    seed=0,
    command=("edgegan", "compress", "recipes/cifar10", "--profile", "full"),
    edgegan="0.1.0",
    started="2026-11-20T10:12:00+00:00",
    machine=MACHINE,
)


def smooth_images(n: int, size: int = 32, seed: int = 0, noise: float = 0.0) -> np.ndarray:
    """Uint8 (n, size, size, 3): a few random waves a channel, the same for the same seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    waves = sum(
        rng.normal(size=(n, 1, 1, 3))
        * np.cos(rng.normal(size=(n, 1, 1, 3)) * k * (x[..., None] + k * y[..., None] / 3))
        for k in range(1, 6)
    )
    images = 128 + 45 * waves + np.random.default_rng(seed + 1).normal(size=(n, size, size, 3)) * noise
    return np.clip(images, 0, 255).astype(np.uint8)


def write_losses(folder: Path, steps: int = 1000) -> None:
    rng = np.random.default_rng(3)
    lines = ["step,output,features,adversarial"]
    for step in range(0, 20 * steps, 20):
        decay = np.exp(-step / 4000)
        values = 0.04 + 0.9 * decay, 0.2 + 2 * decay, 0.7 + 0.1 * rng.normal()
        lines.append(",".join([str(step), *(f"{value * (1 + 0.05 * rng.normal()):.5f}" for value in values)]))
    (folder / "losses.csv").write_text("\n".join(lines) + "\n")


def make_run(path: Path, figures: Figures | None = None, **run: Any) -> Path:
    figures = figures or make_figures()
    path.mkdir(parents=True)
    write_description(path, replace(DESCRIPTION, **run))
    write_figures(path, figures)
    write_findings(path, Findings(LINT))
    for name, record in RECORDS.items():
        write_json(path / STAGES / name / RECORD, asdict(record))
    write_losses(path / STAGES / "02-distill")
    (path / SAMPLES).mkdir()
    noises = {"prune": 60.0, "fp32": 3.0, "fp16": 3.0, "int8": 7.0}
    for each in figures.rows:
        np.savez(
            path / SAMPLES / f"{each.name}.npz", images=smooth_images(64, noise=noises.get(each.name, 0.0))
        )
    return path
