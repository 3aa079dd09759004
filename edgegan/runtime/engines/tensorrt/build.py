"""ONNX to TensorRT engine.

tensorrt_rtx builds without a GPU; tensorrt needs the GPU that will run the engine.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegan.errors import InputError, ModelError, StorageError
from edgegan.files import write_bytes
from edgegan.runtime.contract import Bounds
from edgegan.runtime.engines.tensorrt.cuda import Gpu, gpu
from edgegan.runtime.engines.tensorrt.layers import Layer, layers
from edgegan.runtime.engines.tensorrt.log import Said, listening
from edgegan.runtime.engines.tensorrt.module import TensorRT, require

BATCHES = (1, 1, 16)
"""The least, the best and the largest batch of an engine, where nothing else is asked for."""

_UINT8 = "UINT8 zero_point"
"""What parsers of 10 and later warn of, and then read 0..255 as -128..127: wrong values, so an error here."""
_NO_DRIVER = "cudaError 35"
"""In messages of a build without a GPU; it is not what is wrong with the model."""
_FOR_TENSORRT = (
    "use a file for TensorRT, such as quantize makes with targets: [jetson-orin-nano]: "
    "int8 with zero point 0, and no int32 bias"
)


@dataclass(frozen=True)
class BuiltEngine:
    """An engine, what it was built with and for, and what TensorRT said of it."""

    plan: bytes
    trt: TensorRT
    gpu: Gpu | None
    """None where it is bound to no GPU: tensorrt_rtx."""
    batches: tuple[int, int, int]
    strongly_typed: bool
    warnings: tuple[str, ...]
    """The parser's and the builder's: what they could not do as the file says."""
    layers: tuple[Layer, ...]
    """What each kernel computes in."""


def build_engine(
    model: bytes,
    *,
    batches: tuple[int, int, int] = BATCHES,
    shapes: Mapping[str, Bounds] | None = None,
    trt: TensorRT | None = None,
    cache: Path | None = None,
) -> BuiltEngine:
    """Build an engine for this machine from an ONNX model; strongly typed where TensorRT can (10 and later).

    Args:
        model: the bytes of an ONNX file, all weights inside.
        batches: the least, the best and the largest batch; kernels are chosen for the best.
        shapes: input to the least, the best and the largest shape of one sample, for inputs with free axes
            other than the batch.
        trt: what to build with; by default what `module.find` finds.
        cache: the folder of timing caches; by default the user's cache folder.

    Raises:
        MissingDependency: there is no TensorRT.
        InputError: `batches` are not three rising numbers, or there is no GPU and this TensorRT needs one.
        ModelError: the model cannot be parsed or built; the node and TensorRT's own words are in it.
    """
    if not (0 < batches[0] <= batches[1] <= batches[2]):
        raise InputError(f"batches must be the least, the best and the largest, 1 or more, not {batches}")
    trt = trt or require()
    device = None if trt.portable else gpu()
    if device is None and not trt.portable:
        raise InputError(
            f"{trt.text} builds on the GPU that will run the engine, and this machine has none",
            next="build on the device; tensorrt_rtx builds without a GPU: pip install 'edgegan[tensorrt]'",
        )
    with listening(trt) as (log, said):
        builder = trt.module.Builder(log)
        network, parser = _parse(builder, log, said, model, trt)
        config = builder.create_builder_config()
        config.profiling_verbosity = trt.module.ProfilingVerbosity.DETAILED
        config.add_optimization_profile(_profile(builder, network, batches, shapes or {}))
        if not trt.strong_typing:
            _allow_types(config, network, trt)
        kept = _load_timings(config, trt, device, cache)
        plan = builder.build_serialized_network(network, config)
        del parser
    if plan is None:
        raise ModelError(f"{trt.text} cannot build the model: {said.worst()}", next=_next(said.worst()))
    if kept:
        _save_timings(config, kept)
    return BuiltEngine(
        plan=bytes(plan),
        trt=trt,
        gpu=device,
        batches=batches,
        strongly_typed=trt.strong_typing and _is_strong(network, trt),
        warnings=tuple(dict.fromkeys(said.warnings)),
        layers=layers(said.described),
    )


def usual_batches(shapes: Mapping[str, Bounds]) -> tuple[int, int, int]:
    """Return the batches to build for: of one where sizes are free, since memory is the largest's."""
    free = any(least != most for least, _, most in shapes.values())
    return (1, 1, 1) if free else BATCHES


def network_precisions(model: bytes, *, trt: TensorRT | None = None) -> dict[str, str]:
    """Return layer to the type of its first output, of the network as it is parsed, before it is built.

    A strongly typed engine keeps these types where values are rounded to them, as int8 after QuantizeLinear.
    What its kernels compute in is in `BuiltEngine.layers`.

    Raises:
        MissingDependency: there is no TensorRT.
        ModelError: the model cannot be parsed.
    """
    trt = trt or require()
    with listening(trt) as (log, said):
        builder = trt.module.Builder(log)
        network, parser = _parse(builder, log, said, model, trt)
    every = [network.get_layer(index) for index in range(network.num_layers)]
    types = {layer.name: dtype(layer.get_output(0).dtype) for layer in every if layer.num_outputs}
    del parser
    return types


def dtype(of: Any) -> str:
    """Return the name that numpy has for a TensorRT `DataType`, or its own in lower case."""
    names = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}
    name: str = of.name
    return names.get(name, name.lower())


def cache_folder() -> Path:
    """Return the user's cache folder for edgegan; XDG_CACHE_HOME or LOCALAPPDATA decide."""
    given = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(given) if given else Path.home() / ".cache") / "edgegan"


def timing_file(trt: TensorRT, device: Gpu) -> str:
    """Return the name of the timing cache of this TensorRT on this GPU."""
    return f"timing-{trt.name}-{trt.version_text}-{slug(device.name)}-{device.compute_capability}.bin"


def slug(text: str) -> str:
    """Return `text` in lower-case letters, digits and `-` only, 32 at most, for the name of a file."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:32].strip("-")


def _parse(builder: Any, log: Any, said: Said, model: bytes, trt: TensorRT) -> tuple[Any, Any]:
    """Return the network of an ONNX model, and the parser, which owns the weights and has to outlive it."""
    flags, names = 0, trt.module.NetworkDefinitionCreationFlag
    for name, wanted in (("EXPLICIT_BATCH", trt.explicit_batch), ("STRONGLY_TYPED", trt.strong_typing)):
        if wanted and hasattr(names, name):
            flags |= 1 << int(getattr(names, name))
    network = builder.create_network(flags)
    parser = trt.module.OnnxParser(network, log)
    parsed = parser.parse(model) and network.num_outputs > 0
    errors = [_said(parser.get_error(index)) for index in range(parser.num_errors)]
    refused = [message for message in said.warnings if _UINT8 in message]
    if not parsed or errors or refused:
        what = "; ".join(dict.fromkeys(errors or refused)) or "it holds no graph"
        raise ModelError(f"{trt.text} cannot read the model: {what}", next=_next(what))
    return network, parser


def _is_strong(network: Any, trt: TensorRT) -> bool:
    """Tell whether the network is strongly typed; where no flag says so, as in 11 and later, all are."""
    flag = getattr(trt.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return flag is None or network.get_flag(flag)


def _said(error: Any) -> str:
    """Return a parser's error with the node that it is about; TensorRT 8 knows only the node's number."""
    name = getattr(error, "node_name", str)() or error.node()
    operator = getattr(error, "node_operator", str)()
    where = f"node {name!r}" + (f" ({operator}): " if operator else ": ") if error.node() >= 0 else ""
    lines = error.desc().removeprefix("Assertion failed: ").splitlines()
    return where + " ".join(line for line in lines if _NO_DRIVER not in line)


def _next(what: str) -> str | None:
    """Return what to do about an error that has to do with INT8."""
    quantized = ("zero", "QuantizeLinear", "UINT8", "Int8")
    return _FOR_TENSORRT if any(word in what for word in quantized) else None


def _profile(builder: Any, network: Any, batches: tuple[int, int, int], shapes: Mapping[str, Bounds]) -> Any:
    """Return the optimization profile: each input at the three batches and shapes."""
    profile = builder.create_optimization_profile()
    for tensor in (network.get_input(index) for index in range(network.num_inputs)):
        batch, *sample = tuple(tensor.shape) or (0,)
        bounds = shapes.get(tensor.name, (sample, sample, sample))
        if batch != -1 or any(size < 1 for size in bounds[0]):
            raise ModelError(
                f"the input {tensor.name!r} is {tuple(tensor.shape)} (-1 is free); an engine needs a free "
                "batch axis, and all other axes fixed",
                next="export the model with the contract's shapes and a free batch axis (N)",
            )
        profile.set_shape(tensor.name, *((size, *shape) for size, shape in zip(batches, bounds)))
    return profile


def _allow_types(config: Any, network: Any, trt: TensorRT) -> None:
    """Let a weakly typed network use the types of less than 32 bits that its file asks for."""
    used: set[str] = set()
    for layer in (network.get_layer(index) for index in range(network.num_layers)):
        used |= {layer.get_output(index).dtype.name for index in range(layer.num_outputs)}
    used |= {network.get_input(index).dtype.name for index in range(network.num_inputs)}
    for type_, flag in (("INT8", "INT8"), ("HALF", "FP16")):
        if type_ in used:
            config.set_flag(getattr(trt.module.BuilderFlag, flag))


def _load_timings(config: Any, trt: TensorRT, device: Gpu | None, folder: Path | None) -> Path | None:
    """Give the builder the timings of earlier builds; return where those of this one go."""
    if device is None or not trt.timing_cache:
        return None
    path = (folder or cache_folder()) / timing_file(trt, device)
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    cache = config.create_timing_cache(content) or config.create_timing_cache(b"")
    config.set_timing_cache(cache, False)
    return path


def _save_timings(config: Any, path: Path) -> None:
    """Keep the timings; a cache that cannot be written only makes the next build slower."""
    with contextlib.suppress(StorageError):
        write_bytes(path, bytes(config.get_timing_cache().serialize()))
