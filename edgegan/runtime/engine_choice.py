"""Which engine runs a bundle on this machine, and what is said where it is not the one that was asked for."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, get_args

from edgegan.errors import InputError, MissingDependency, ModelError
from edgegan.runtime.bundle import Bundle
from edgegan.runtime.engine_build import PREFERRED, build_model, find_engine, tensorrt_precision
from edgegan.runtime.engines.base import Engine
from edgegan.runtime.engines.tensorrt.cuda import Cuda, Gpu
from edgegan.runtime.engines.tensorrt.engine import TensorRTEngine
from edgegan.runtime.engines.tensorrt.module import TensorRT, require

EngineName = Literal["auto", "onnxruntime", "tensorrt"]
TENSORRT_ONLY = "-tensorrt"
"""How the precisions end whose files are for TensorRT."""
_UNTRUSTED = (
    "the bundle's engines are programs, and were not loaded; "
    "where you built them yourself, or trust who did, say trust_engines=True, or --trust-engines"
)


def load_engine(
    bundle: Bundle,
    engine: EngineName,
    precision: str | None,
    threads: int | None,
    *,
    trust_engines: bool = False,
) -> tuple[Engine, tuple[str, ...]]:
    """Load a model of the bundle on an engine; return it, and notes on what is not as it was asked for.

    "tensorrt" takes the bundle's engine for this machine, or builds one; without TensorRT or a GPU, ONNX
    Runtime is left. "auto" takes TensorRT where the bundle has an engine for this machine, and builds none.
    The bundle's engines are native code: they are loaded only with `trust_engines`.

    Raises:
        InputError: there is no such engine, or the bundle has no such model or none for this engine.
        ModelError: the engine cannot load the model, or TensorRT cannot build it.
        MissingDependency: onnxruntime is not installed, and it was asked for or is what is left.
    """
    names = get_args(EngineName)
    if engine not in names:
        raise InputError(f"there is no engine {engine!r:.80}", next=f"choose one of {', '.join(names)}")
    if engine == "onnxruntime" or (engine == "auto" and not bundle.manifest.engines):
        return _onnxruntime(bundle, precision, threads), ()
    if engine == "auto" and not trust_engines:
        return _onnxruntime(bundle, precision, threads), (
            f"runs on ONNX Runtime, not on TensorRT: {_UNTRUSTED}",
        )
    if precision is not None:
        bundle.model(precision)
    try:
        trt, gpu = require(), Cuda().gpu()
    except (MissingDependency, InputError) as error:
        reason = error.what
    else:
        precisions = [precision] if precision else _candidates(bundle, engine)
        stored, reason = _stored(bundle, precisions, trt, gpu, trust_engines)
        if stored is not None:
            return stored, ()
        keep = f"`{shlex.join(['edgegan', 'build', str(bundle.folder)])}` keeps one in the bundle"
        if engine == "tensorrt":
            built = TensorRTEngine(build_model(bundle, precisions[0], trt).plan, trt=trt)
            return built, (f"{reason}: built one from {bundle.manifest.models[precisions[0]]}; {keep}",)
        reason = f"{reason}; {keep}"
    kept = precision if engine == "auto" or not (precision or "").endswith(TENSORRT_ONLY) else None
    return _onnxruntime(bundle, kept, threads), (f"runs on ONNX Runtime, not on TensorRT: {reason}",)


def int8_precisions(machine: str) -> tuple[str, str]:
    """Return the names of ONNX Runtime's INT8 models: that for this kind of processor, that for the other."""
    arm = machine.lower() in ("aarch64", "arm64")
    return ("int8-arm64", "int8") if arm else ("int8", "int8-arm64")


def default_precision(
    models: Collection[str], machine: str, speedups: Mapping[str, Mapping[str, float]] | None = None
) -> str:
    """Return which of the models is a bundle's default where it is made on this kind of processor.

    INT8 for this processor, for the other, FP32, FP16; what is left is for TensorRT. Where FP32 or FP16 was
    measured to be surely faster than that INT8, the faster of the two takes its place: it loses less. Where
    the intervals overlap, INT8 stays, which is smaller; so noise alone does not decide.

    Args:
        models: their names.
        machine: as `platform.machine()` says.
        speedups: of the models that were measured here, relative to one and the same: `value`, `low`, `high`.
    """
    order = (*int8_precisions(machine), "fp32", "fp16", *models)
    first = next(precision for precision in order if precision in models)
    measured = speedups or {}
    if not first.startswith("int8") or first not in measured:
        return first
    finer = [name for name in ("fp32", "fp16") if name in models and name in measured]
    faster = [name for name in finer if measured[name]["low"] > measured[first]["high"]]
    return max(faster, key=lambda name: measured[name]["value"], default=first)


def onnxruntime_precision(models: Mapping[str, str], default: str, machine: str) -> str:
    """Return which of a bundle's models ONNX Runtime is to run on this kind of processor.

    Args:
        models: the manifest's.
        default: the manifest's.
        machine: as `platform.machine()` says, "x86_64" or "aarch64".

    Raises:
        InputError: all models are for TensorRT.
    """
    own, other = int8_precisions(machine)
    if own in models and (own == "int8-arm64" or default == other):
        return own
    for precision in (default, own, "fp32", *models):
        if precision in models and not precision.endswith(TENSORRT_ONLY):
            return precision
    raise InputError(
        f"the bundle has models for TensorRT only: {', '.join(models)}",
        next="run it with engine='tensorrt'; or name a precision to run it on ONNX Runtime, slowly",
    )


def _onnxruntime(bundle: Bundle, precision: str | None, threads: int | None) -> Engine:
    from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine

    manifest = bundle.manifest
    chosen = precision or onnxruntime_precision(manifest.models, manifest.default, platform.machine())
    return OnnxRuntimeEngine(bundle.model(chosen), threads=threads)


def _candidates(bundle: Bundle, engine: EngineName) -> list[str]:
    """Return which models TensorRT may run: the best one, or with "auto" all that engines were built from."""
    if engine == "tensorrt":
        return [tensorrt_precision(bundle)]
    built = {entry.precision for entry in bundle.manifest.engines}
    return [precision for precision in PREFERRED if precision in built]


def _stored(
    bundle: Bundle, precisions: Sequence[str], trt: TensorRT, gpu: Gpu, trusted: bool
) -> tuple[TensorRTEngine | None, str]:
    """Load the first of the bundle's engines that fits this machine, or return why there is none."""
    reason = f"the bundle has no engine for {trt.text} on {gpu}"
    for precision in precisions:
        entry = find_engine(bundle, precision, trt, gpu)
        if entry is None:
            continue
        if not trusted:
            return None, _UNTRUSTED
        try:
            return TensorRTEngine(bundle.read(entry.file), trt=trt), ""
        except ModelError as error:
            reason = error.what
    return None, reason
