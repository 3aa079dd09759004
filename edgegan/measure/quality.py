"""How good the outputs of an ONNX file are: made by the file itself, on ONNX Runtime, from equal latents."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError, EdgeganError
from edgegan.measure.features import Extractor, Reference
from edgegan.measure.fid import fid_interval
from edgegan.measure.kid import kid
from edgegan.measure.paired import psnr, ssim
from edgegan.measure.precision_recall import precision_recall
from edgegan.measure.statistics import Interval, bootstrap
from edgegan.runtime.artifact import USUAL_ENGINE, Artifact
from edgegan.runtime.contract import Contract
from edgegan.runtime.engines.registry import open_artifact
from edgegan.runtime.modality import Image

KEPT_BYTES = 256 << 20
"""Outputs beyond this are not kept for the paired metrics, which then rest on fewer samples."""
BATCH, BATCH_BYTES = 64, 16 << 20
KID_SUBSET = 1000
LEAST_ERROR = 1e-10


@dataclass(frozen=True)
class Outputs:
    """What a file gave: the first outputs, and the features of all of them.

    `kept` is uint8 NHWC where the contract's first output is an image, else float32 scaled to 0..1.
    """

    kept: NDArray[Any]
    features: NDArray[np.float32] | None


@dataclass
class Scores:
    """Figures by name, and the reasons of those that failed."""

    figures: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, names: tuple[str, ...], measure: Callable[[], tuple[Any, ...]]) -> None:
        """Take the figures that `measure` returns, or the reason why it cannot."""
        try:
            values = measure()
        except (EdgeganError, ArithmeticError, ValueError, RuntimeError, np.linalg.LinAlgError) as error:
            reason = error.what if isinstance(error, EdgeganError) else f"{type(error).__name__}: {error}"
            self.failed.update(dict.fromkeys(names, reason))
            return
        for name, value in zip(names, values):
            self.figures[name] = value.to_dict() if isinstance(value, Interval) else value


def suffix(samples: int) -> str:
    """Return the protocol's part of a figure's name: 10000 gives "10k", 2500 "2500"."""
    return f"{samples // 1000}k" if samples % 1000 == 0 else str(samples)


def batch_size(contract: Contract) -> int:
    """Return how many samples to run at once: fewer of larger outputs."""
    return max(1, min(BATCH, BATCH_BYTES // (4 * math.prod(contract.outputs[0].shape))))


def paired_samples(contract: Contract, samples: int) -> int:
    """Return how many of `samples` outputs the paired metrics compare."""
    width = 1 if isinstance(contract.outputs[0].modality, Image) else 4
    return min(samples, max(2, KEPT_BYTES // (width * math.prod(contract.outputs[0].shape))))


def collect(
    file: Artifact | Path,
    contract: Contract,
    *,
    engine: str = USUAL_ENGINE,
    samples: int,
    seed: int,
    extractor: Extractor | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Outputs:
    """Run a file on `samples` inputs drawn from `seed`.

    Raises:
        InputError: there is no such engine.
        MissingDependency: the engine is not installed.
        ModelError: the engine cannot load or run the file.
        DataError: an output is not finite, or the extractor cannot take the images.
    """
    spec, done = contract.outputs[0], 0
    place = file.file if isinstance(file, Artifact) else str(file)
    keep = paired_samples(contract, samples)
    kept: list[NDArray[Any]] = []
    features: list[NDArray[np.float32]] = []
    with open_artifact(file, engine, threads=threads) as loaded:
        for inputs in contract.batches(samples, seed, batch_size(contract)):
            output = loaded(inputs)[spec.name]
            if not np.isfinite(output).all():
                raise DataError(f"the output {spec.name!r} holds NaN or infinity", where=place)
            if isinstance(spec.modality, Image):
                images = spec.modality.encode(output, spec)
                kept.append(images[: max(0, keep - done)])
                if extractor is not None:
                    features.append(extractor(images))
            else:
                kept.append(_scaled(output[: max(0, keep - done)], spec.range))
            done += len(output)
            progress(done, samples)
    return Outputs(np.concatenate(kept), np.concatenate(features) if features else None)


def score(
    outputs: Outputs, full: Outputs | None, reference: Reference | None, *, samples: int, wanted: bool
) -> Scores:
    """Return the figures of `outputs`; what cannot be measured is recorded as failed, with its reason.

    Args:
        outputs: of the file in question.
        full: of the full model from the same latents; None where the file is the full model.
        reference: of real images.
        samples: how many outputs the features are of, which is part of the figures' names.
        wanted: whether FID and its kin are asked for at all.
    """
    scores, tail = Scores(), suffix(samples)
    if full is not None and outputs.kept.dtype == np.uint8:
        scores.add(("psnr_db",), lambda: (psnr(outputs.kept, full.kept),))
        scores.add(("ssim",), lambda: (ssim(outputs.kept, full.kept),))
    elif full is not None:
        scores.add(("psnr_db",), lambda: (_float_psnr(outputs.kept, full.kept),))
    names = tuple(f"{metric}_{tail}" for metric in ("fid", "kid", "precision", "recall"))
    if wanted and outputs.features is None:
        scores.failed.update(dict.fromkeys(names, "the first output is not an image, so it has no features"))
    elif wanted and reference is not None and outputs.features is not None:
        features = outputs.features
        subset = min(KID_SUBSET, len(features), len(reference.features))
        scores.warnings.extend(reference.statistics.warnings)
        scores.add(names[:1], lambda: (fid_interval(features, reference.statistics),))
        scores.add(names[1:2], lambda: (kid(features, reference.features, subset_size=subset),))
        scores.add(names[2:], lambda: precision_recall(features, reference.features))
    return scores


def _scaled(output: NDArray[Any], value_range: tuple[float, float]) -> NDArray[np.float32]:
    low, high = value_range
    return ((output.astype(np.float32) - low) / (high - low)).astype(np.float32)


def _float_psnr(a: NDArray[np.float32], b: NDArray[np.float32]) -> Interval:
    """PSNR in dB of outputs scaled to 0..1; equal ones count as 100 dB."""
    errors = np.square(a.astype(np.float64) - b).reshape(len(a), -1).mean(axis=1)
    return bootstrap(-10.0 * np.log10(np.maximum(errors, LEAST_ERROR)))
