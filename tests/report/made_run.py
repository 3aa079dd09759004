"""A run folder such as `edgegan compress` leaves, with smooth random images."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np

Interval = dict[str, float]


def interval(value: float, low: float, high: float) -> Interval:
    return {"value": value, "low": low, "high": high}


MACHINE = {
    "cpu": "AMD EPYC 7B13",
    "cores": 2,
    "flags": ["avx2"],
    "ram_gib": 15.6,
    "os": "Linux 6.1",
    "python": "3.11.9",
    "onnxruntime": "1.32.0",
}

PROTOCOL = {
    "engine": "onnxruntime 1.32.0 CPU",
    "threads": 2,
    "batch": 1,
    "samples": 10000,
    "seed": 1,
    "features": "features.onnx 1a2b3c4d",
    "reference": "cifar10-train 50000",
    "machine": MACHINE,
}


def row(name: str, label: str, stage: str | None, **figures: Any) -> dict[str, Any]:
    precision = name if name in ("fp16", "int8") else "fp32"
    return {
        "name": name,
        "label": label,
        "stage": stage,
        "precision": precision,
        "warnings": [],
        "failed": {},
    } | figures


def latency(p50: float, speedup: Interval | None, **more: Any) -> dict[str, Any]:
    return {
        "latency_ms_p50": p50,
        "latency_ms_p90": p50 * 1.06,
        "latency_ms_p99": p50 * 1.31,
        "latency_cv": 0.043,
        "end_to_end_ms_p50": p50 + 0.21,
        "speedup": speedup,
        "load_ms": 31.5,
        "peak_rss_mib": 96.25,
    } | more


def quality(fid: Interval, psnr: Interval | None, ssim: Interval | None) -> dict[str, Any]:
    return {
        "fid_10k": fid,
        "kid_10k": interval(fid["value"] / 9e3, fid["low"] / 9e3, fid["high"] / 9e3),
        "precision_10k": 0.7312,
        "recall_10k": 0.6127,
        "psnr_db": psnr,
        "ssim": ssim,
    }


def make_figures() -> dict[str, Any]:
    small = {"params": 912_331, "macs": 41_204_736}
    return {
        "protocol": copy.deepcopy(PROTOCOL),
        "rows": [
            row(
                "full", "full model", None, file="full.onnx", params=8_270_083, macs=415_236_096,
                file_bytes=33_120_400, **latency(9.81, None),
                **quality(interval(6.21, 6.05, 6.36), None, None),
            ),
            row(
                "prune", "after prune", "prune", file="prune.onnx", file_bytes=3_701_200, **small,
                **latency(2.41, interval(4.07, 3.93, 4.19)),
                **quality(
                    interval(141.2, 139.5, 143.0),
                    interval(12.4, 12.3, 12.6),
                    interval(0.214, 0.209, 0.219),
                ),
            ),
            row(
                "fp32", "FP32 (after distill)", None, file="model.fp32.onnx", file_bytes=3_701_200, **small,
                **latency(2.39, interval(4.1, 3.94, 4.22)),
                **quality(
                    interval(6.74, 6.58, 6.9),
                    interval(24.11, 23.95, 24.28),
                    interval(0.871, 0.868, 0.874),
                ),
            ),
            row(
                "fp16", "FP16", None, file="model.fp16.onnx", file_bytes=1_874_002, **small,
                failed={"latency": "this engine runs FP16 convolutions in FP32, with a cast on each side"},
                **quality(
                    interval(6.75, 6.59, 6.9),
                    interval(24.11, 23.94, 24.28),
                    interval(0.871, 0.868, 0.874),
                ),
            ),
            row(
                "int8", "INT8", None, file="model.int8.onnx", file_bytes=1_012_448, **small,
                **latency(1.62, interval(6.05, 5.78, 6.31)),
                **quality(
                    interval(6.98, 6.81, 7.14),
                    interval(23.72, 23.55, 23.9),
                    interval(0.862, 0.859, 0.866),
                ),
            )
            | {"warnings": ["latency varies by 4.3%: other work may have run on the machine"]},
        ],
    }  # fmt: skip


LAYERS = ["seed", *(f"blocks.{block}.conv{n}" for block in range(5) for n in (1, 2))]

RECORDS = {
    "01-prune": {
        "stage": "prune",
        "settings": {"macs": 0.1, "align": 8, "importance": "magnitude", "scope": "global"},
        "changed": {
            "widths": {
                "linear": [4096, 1280],
                **{f"blocks.{i}.conv{j}": [256, 104 - 16 * i] for i in range(3) for j in (1, 2)},
            },
            "kept": {"linear.weight": {"0": list(range(1280))}},
            "whole": {"output": "the output layer", "embedding": "the label embedding"},
        },
        "proof": {
            "largest_difference": 2.4e-6,
            "samples": 8,
            "before": {"params": 8_270_083, "macs": 415_236_096},
            "after": {"params": 912_331, "macs": 41_204_736},
        },
        "seconds": 4.21,
    },
    "02-distill": {
        "stage": "distill",
        "settings": {
            "steps": 20000,
            "batch": 64,
            "losses": {"output": 10.0, "features": 1.0, "adversarial": 0.1},
        },
        "changed": {"weights": "all", "taps": ["blocks.0", "blocks.1", "blocks.2"]},
        "proof": {"held_out_psnr_db": {"before": 12.4, "after": 24.1, "samples": 256}, "warnings": []},
        "seconds": 5423.0,
    },
    "03-quantize": {
        "stage": "quantize",
        "settings": {"bits": 8, "calibration": 512},
        "changed": {
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
        "proof": {
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
        "seconds": 41.7,
    },
    "04-export": {
        "stage": "export",
        "settings": {"opset": 20},
        "changed": {
            "files": {"fp32": "model.fp32.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}
        },
        "proof": {"largest_difference": {"fp32": 1.1e-6, "fp16": 0.0021, "int8": 0.094}},
        "seconds": 12.9,
    },
}

LINT = [
    {
        "level": "warning",
        "layer": "blocks.0.up",
        "what": "nearest up-sampling by 2 before a 3x3 convolution",
        "why": "The convolution runs at the larger size.",
        "next": "nothing to do: pruning takes most of it",
    },
    {"level": "info", "layer": "", "what": "Tanh at the output stays in float", "why": "", "next": ""},
]


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


def make_run(path: Path, figures: dict[str, Any] | None = None, **run: Any) -> Path:
    figures = figures or make_figures()
    path.mkdir(parents=True)
    described = {
        "name": "cifar10",
        "description": "A class-conditional generator of 32x32 colour images.",
        "profile": "full",
        "seed": 0,
        "command": ["edgegan", "compress", "recipes/cifar10", "--profile", "full"],
        "edgegan": "0.1.0",
        "started": "2026-11-20T10:12:00+00:00",
        "machine": MACHINE,
    }
    (path / "run.json").write_text(json.dumps(described | run))
    (path / "figures.json").write_text(json.dumps(figures))
    (path / "lint.json").write_text(json.dumps(LINT))
    for name, record in RECORDS.items():
        (path / "stages" / name).mkdir(parents=True)
        (path / "stages" / name / "record.json").write_text(json.dumps(record))
    write_losses(path / "stages" / "02-distill")
    (path / "samples").mkdir()
    noises = {"prune": 60.0, "fp32": 3.0, "fp16": 3.0, "int8": 7.0}
    for each in figures["rows"]:
        images = smooth_images(64, noise=noises.get(each["name"], 0.0))
        np.savez(path / "samples" / f"{each['name']}.npz", images=images)
    return path
