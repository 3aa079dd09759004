"""Records of `edgegan bench` as they would be measured, without measuring."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgegan.evaluate.record import BenchRecord, BenchRow, Headline
from edgegan.measure.latency import Starts
from edgegan.run.figures import Protocol

MACHINE = {"cpu": "Zen", "board": None, "cores": 2, "flags": ["avx2"], "packages": {"onnxruntime": "1.32.0"}}
METRICS = {key: {"title": key, "better": "higher", "needs": "pair"} for key in ("psnr_db", "ssim")}
METRICS |= {key: {"title": key, "better": "lower"} for key in ("fid_1k", "fid_10k")}
SPREAD = np.array([0.99, 1.0, 1.01, 1.0, 1.0])
BASE = "fp32 on onnxruntime, batch 1"


def row(name: str, ms: float, *, base_ms: float = 10.0, sha256: str = "", **more: Any) -> BenchRow:
    """A row whose starts spread by a hundredth; the baseline is fp32, of `base_ms`."""
    times = tuple((ms * SPREAD).tolist())
    speedup = () if name == "fp32" else tuple((base_ms / ms * SPREAD[::-1]).tolist())
    return BenchRow(
        **{
            "name": name,
            "label": f"{name} on onnxruntime, batch 1",
            "bundle": "faces",
            "engine": "onnxruntime",
            "sha256": sha256 or name,
            "relative_to": BASE,
            "starts": Starts(times, times, speedup),
            "measured": {"latency_ms_p50": ms},
            **more,
        }
    )


def record(*rows: BenchRow, **protocol: Any) -> BenchRecord:
    return BenchRecord(
        Protocol(**{"threads": 2, "seed": 1, "machine": MACHINE, **protocol}),
        METRICS,
        rows,
        Headline("nothing to say"),
        "edgegan 0.1.0",
        "2026-01-01T00:00:00+00:00",
    )
