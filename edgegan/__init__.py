"""edgegan compresses trained GANs for edge devices, proves what it cost, and deploys them.

Everything public is here, and is imported when it is first used: `edgegan.Generator` needs numpy and an
engine, `edgegan.compress_generator` needs the extra `compress`.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from edgegan.version import __version__

if TYPE_CHECKING:
    from edgegan.compress.distill import Distill, DistillSettings
    from edgegan.compress.export import Export, ExportSettings
    from edgegan.compress.lint import Finding, lint
    from edgegan.compress.load import load_module
    from edgegan.compress.pipeline import Pipeline
    from edgegan.compress.prune import Prune, PruneSettings
    from edgegan.compress.quantize import Quantize, QuantizeSettings
    from edgegan.compress.stage import Candidate, Context, Stage, StageRecord
    from edgegan.compressor import Follower, Run, compress_generator
    from edgegan.errors import (
        BundleError,
        CheckpointError,
        DataError,
        EdgeganError,
        EngineFallback,
        InputError,
        MissingDependency,
        ModelError,
        OutOfRange,
        ProofError,
        RecipeError,
        StageError,
        StorageError,
        UserError,
    )
    from edgegan.evaluate.bench import bench
    from edgegan.evaluate.compare import Comparison, compare
    from edgegan.evaluate.record import BenchRecord
    from edgegan.in_memory import compress_module
    from edgegan.init.recipe import Initialized, init_recipe
    from edgegan.init.stored import store_pictures
    from edgegan.measure.latency import Latency, measure_latency
    from edgegan.recipe import Recipe
    from edgegan.report import write_report
    from edgegan.runtime.bundle import Bundle, write_bundle
    from edgegan.runtime.contract import Contract, Input, Output, Sample
    from edgegan.runtime.engines.tensorrt.bundle_engines import build_engines
    from edgegan.runtime.generator import Generator
    from edgegan.target import Target, targets
    from edgegan.train.features import train_features
    from edgegan.train.run import train_teacher

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime's, which reports what it runs to its maker
# torch's huge pages: paging large tensors in takes longer than computing them
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

_HOMES = {
    "edgegan.compress.distill": ("Distill", "DistillSettings"),
    "edgegan.compress.export": ("Export", "ExportSettings"),
    "edgegan.compress.lint": ("Finding", "lint"),
    "edgegan.compress.load": ("load_module",),
    "edgegan.compress.pipeline": ("Pipeline",),
    "edgegan.compress.prune": ("Prune", "PruneSettings"),
    "edgegan.compress.quantize": ("Quantize", "QuantizeSettings"),
    "edgegan.compress.stage": ("Candidate", "Context", "Stage", "StageRecord"),
    "edgegan.compressor": ("Follower", "Run", "compress_generator"),
    "edgegan.errors": (
        "BundleError",
        "CheckpointError",
        "DataError",
        "EdgeganError",
        "EngineFallback",
        "InputError",
        "MissingDependency",
        "ModelError",
        "OutOfRange",
        "ProofError",
        "RecipeError",
        "StageError",
        "StorageError",
        "UserError",
    ),
    "edgegan.evaluate.bench": ("bench",),
    "edgegan.evaluate.compare": ("Comparison", "compare"),
    "edgegan.evaluate.record": ("BenchRecord",),
    "edgegan.in_memory": ("compress_module",),
    "edgegan.init.recipe": ("Initialized", "init_recipe"),
    "edgegan.init.stored": ("store_pictures",),
    "edgegan.measure.latency": ("Latency", "measure_latency"),
    "edgegan.recipe": ("Recipe",),
    "edgegan.report": ("write_report",),
    "edgegan.runtime.bundle": ("Bundle", "write_bundle"),
    "edgegan.runtime.contract": ("Contract", "Input", "Output", "Sample"),
    "edgegan.runtime.engines.tensorrt.bundle_engines": ("build_engines",),
    "edgegan.runtime.generator": ("Generator",),
    "edgegan.target": ("Target", "targets"),
    "edgegan.train.features": ("train_features",),
    "edgegan.train.run": ("train_teacher",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BenchRecord",
    "Bundle",
    "BundleError",
    "Candidate",
    "CheckpointError",
    "Comparison",
    "Context",
    "Contract",
    "DataError",
    "Distill",
    "DistillSettings",
    "EdgeganError",
    "EngineFallback",
    "Export",
    "ExportSettings",
    "Finding",
    "Follower",
    "Generator",
    "Initialized",
    "Input",
    "InputError",
    "Latency",
    "MissingDependency",
    "ModelError",
    "OutOfRange",
    "Output",
    "Pipeline",
    "ProofError",
    "Prune",
    "PruneSettings",
    "Quantize",
    "QuantizeSettings",
    "Recipe",
    "RecipeError",
    "Run",
    "Sample",
    "Stage",
    "StageError",
    "StageRecord",
    "StorageError",
    "Target",
    "UserError",
    "__version__",
    "bench",
    "build_engines",
    "compare",
    "compress_generator",
    "compress_module",
    "init_recipe",
    "lint",
    "load_module",
    "measure_latency",
    "store_pictures",
    "targets",
    "train_features",
    "train_teacher",
    "write_bundle",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'edgegan' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
