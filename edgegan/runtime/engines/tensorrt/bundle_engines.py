"""Building engines of a bundle's models into the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegan.runtime.artifact import Artifact
from edgegan.runtime.bundle import Bundle
from edgegan.runtime.engines.tensorrt.build import BATCHES, BuiltEngine, build_engine, slug
from edgegan.runtime.engines.tensorrt.module import TensorRT, require
from edgegan.runtime.manifest import EngineEntry


@dataclass(frozen=True)
class StoredEngine:
    """An engine that `build_engines` put into a bundle."""

    entry: EngineEntry
    built: BuiltEngine


def build_engines(
    bundle: str | Path, precisions: Sequence[str] | None = None, *, batches: tuple[int, int, int] = BATCHES
) -> list[StoredEngine]:
    """Build TensorRT engines for this machine from a bundle's models, and put them into it in one step.

    With tensorrt_rtx they are built without a GPU, for all that it supports; with tensorrt, on the GPU here.

    Args:
        bundle: the folder.
        precisions: the names of the models; by default the one that TensorRT is to run.
        batches: the least, the best and the largest batch.

    Raises:
        BundleError: the bundle is damaged.
        InputError: it has no such model, or there is no GPU and this TensorRT needs one.
        ModelError: TensorRT cannot read or build a model.
        MissingDependency: there is no TensorRT.
        StorageError: the bundle cannot be written.
    """
    opened = Bundle.open(bundle)
    trt = require()
    models = [opened.choose("tensorrt", name) for name in precisions or [None]]
    made = [_build(opened, artifact, trt, batches) for artifact in models]
    opened.add_engines({stored.entry: stored.built.plan for stored in made})
    return made


def _build(bundle: Bundle, artifact: Artifact, trt: TensorRT, batches: tuple[int, int, int]) -> StoredEngine:
    shapes = bundle.manifest.contract.bounds()
    built = build_engine(bundle.read(artifact.file), batches=batches, shapes=shapes, trt=trt)
    gpu = built.gpu
    place = f".{slug(gpu.name)}-{gpu.compute_capability}" if gpu else ""
    entry = EngineEntry(
        file=f"engine.{artifact.name}.{trt.name}-{trt.version_text}{place}.plan",
        artifact=artifact.name,
        onnx_sha256=bundle.manifest.files[artifact.file].sha256,
        module=trt.name,
        version=trt.version_text,
        gpu=gpu.name if gpu else None,
        compute_capability=gpu.compute_capability if gpu else None,
        batches=batches,
    )
    return StoredEngine(entry, built)
