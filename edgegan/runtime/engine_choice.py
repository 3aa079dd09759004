"""Which engine runs a bundle on this machine, and what is said where it is not the one that was asked for."""

from __future__ import annotations

import platform
import shlex
from typing import Literal, get_args

from edgegan.errors import InputError, MissingDependency, ModelError
from edgegan.runtime.artifact import Artifact, choose
from edgegan.runtime.bundle import Bundle
from edgegan.runtime.engine_build import build_model, find_engine
from edgegan.runtime.engines.base import Engine
from edgegan.runtime.engines.tensorrt.cuda import Cuda, Gpu
from edgegan.runtime.engines.tensorrt.engine import TensorRTEngine
from edgegan.runtime.engines.tensorrt.module import TensorRT, require

EngineName = Literal["auto", "onnxruntime", "tensorrt"]
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
        bundle.artifact(precision)
    try:
        trt, gpu = require(), Cuda().gpu()
    except (MissingDependency, InputError) as error:
        reason = error.what
    else:
        chosen = None if engine == "auto" and precision is None else bundle.choose("tensorrt", precision)
        stored, reason = _stored(bundle, chosen, trt, gpu, trust_engines)
        if stored is not None:
            return stored, ()
        keep = f"`{shlex.join(['edgegan', 'build', str(bundle.folder)])}` keeps one in the bundle"
        if engine == "tensorrt" and chosen is not None:
            built = TensorRTEngine(build_model(bundle, chosen, trt).plan, trt=trt)
            return built, (f"{reason}: built one from {chosen.file}; {keep}",)
        reason = f"{reason}; {keep}"
    kept = precision
    if engine == "tensorrt" and precision is not None and bundle.artifact(precision).engine == engine:
        kept = None
    return _onnxruntime(bundle, kept, threads), (f"runs on ONNX Runtime, not on TensorRT: {reason}",)


def _onnxruntime(bundle: Bundle, name: str | None, threads: int | None) -> Engine:
    from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine

    artifact = bundle.choose("onnxruntime", name)
    optimized = artifact.optimized_by("onnxruntime")
    return OnnxRuntimeEngine(bundle.read(artifact.file), threads=threads, optimized=optimized)


def _stored(
    bundle: Bundle, artifact: Artifact | None, trt: TensorRT, gpu: Gpu, trusted: bool
) -> tuple[TensorRTEngine | None, str]:
    """Load the bundle's engine of an artifact, or of the best that has one, or return why there is none."""
    reason = f"the bundle has no engine for {trt.text} on {gpu}"
    wanted = bundle.manifest.artifacts if artifact is None else (artifact,)
    fitting = {found: entry for found in wanted if (entry := find_engine(bundle, found, trt, gpu))}
    while fitting:
        if not trusted:
            return None, _UNTRUSTED
        best = (
            choose(fitting, engine="tensorrt", machine=platform.machine()) if artifact is None else artifact
        )
        try:
            return TensorRTEngine(bundle.read(fitting.pop(best).file), trt=trt), ""
        except ModelError as error:
            reason = error.what
    return None, reason
