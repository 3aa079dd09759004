"""What a file gives from equal latents, made by the file itself on an engine; kept to be measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError
from edgegan.measure.features import Extractor
from edgegan.measure.metrics.registry import featured
from edgegan.runtime.artifact import USUAL_ENGINE, Artifact
from edgegan.runtime.contract import Arrays, Contract
from edgegan.runtime.engines.registry import open_artifact

KEPT_BYTES = 256 << 20
"""Outputs beyond this are not kept for the paired metrics, which then rest on fewer samples."""
BATCH, BATCH_BYTES = 64, 16 << 20


@dataclass(frozen=True)
class Outputs:
    """What a file gave: the first samples of each output, and the features of all samples of one."""

    kept: Mapping[str, NDArray[Any]]
    """By output, as an app gets them."""
    features: Mapping[str, NDArray[np.float32]] = field(default_factory=dict[str, NDArray[np.float32]])
    """Of the output that features are taken of; see `featured`."""


def batch_size(contract: Contract) -> int:
    """Return how many samples to run at once: fewer of larger outputs."""
    return max(1, min(BATCH, BATCH_BYTES // (4 * sum(math.prod(spec.shape) for spec in contract.outputs))))


def paired_samples(contract: Contract, samples: int) -> int:
    """Return how many of `samples` outputs the paired metrics compare."""
    blank = {spec: np.zeros((1, *spec.shape), np.float32) for spec in contract.outputs}
    size = sum(spec.modality.encode(array, spec).nbytes for spec, array in blank.items())
    return min(samples, max(2, KEPT_BYTES // max(1, size)))


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
    keep, done = paired_samples(contract, samples), 0
    of = featured(contract) if extractor is not None else None
    kept: list[Arrays] = []
    features: list[NDArray[np.float32]] = []
    place = file.file if isinstance(file, Artifact) else str(file)
    with open_artifact(file, engine, threads=threads) as loaded:
        for inputs in contract.batches(samples, seed, batch_size(contract)):
            given = loaded(inputs)
            for name, array in given.items():
                if not np.isfinite(array).all():
                    raise DataError(f"the output {name!r} holds NaN or infinity", where=place)
            encoded = {spec.name: spec.modality.encode(given[spec.name], spec) for spec in contract.outputs}
            if extractor is not None and of is not None:
                features.append(extractor(encoded[of.name]))
            if done < keep:
                kept.append({name: array[: keep - done] for name, array in encoded.items()})
            done += len(next(iter(encoded.values())))
            progress(done, samples)
    whole = {spec.name: np.concatenate([part[spec.name] for part in kept]) for spec in contract.outputs}
    return Outputs(whole, {of.name: np.concatenate(features)} if of else {})
