"""Where the time of a call goes, layer by layer, as an engine's own profiler tells it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

Kind = Literal["int8", "float", "conversion"]

WARMUP = 2
"""Calls that are left out, at the beginning."""

_EIGHT_BITS = ("int8", "uint8")
_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast")
_SUFFIX, _CLONE = "_kernel_time", "_token_"


@dataclass(frozen=True)
class LayerTime:
    """One layer of a graph as the engine runs it."""

    name: str
    operator: str
    """Its kind, as the engine calls it."""
    kind: Kind
    """Whether it computes or moves 8-bit values, or others, or turns one into the other."""
    ms: float
    """The median over calls."""


def typical(times: Iterable[tuple[str, LayerTime]]) -> tuple[LayerTime, ...]:
    """Return the layers in the order of their first call, without the first calls.

    Args:
        times: of each layer in each call: what tells it from others of its name, and what it took.
    """
    found: dict[tuple[str, str], list[LayerTime]] = {}
    for index, layer in times:
        found.setdefault((index, layer.name), []).append(layer)
    medians = {key: np.median([call.ms for call in calls[WARMUP:] or calls]) for key, calls in found.items()}
    return tuple(replace(calls[0], ms=float(medians[key])) for key, calls in found.items())


def onnxruntime_times(profile: Path) -> tuple[LayerTime, ...]:
    """Read what ONNX Runtime's profiler wrote: the layers of its optimized graph, as they ran."""
    events = [event for event in json.loads(profile.read_bytes()) if event.get("cat") == "Node"]
    kernels = [event for event in events if event["name"].endswith(_SUFFIX)]
    return typical((event["args"].get("node_index", ""), _layer(event)) for event in kernels)


def _layer(event: Mapping[str, Any]) -> LayerTime:
    name = event["name"].removesuffix(_SUFFIX).partition(_CLONE)[0]
    return LayerTime(name, event["args"]["op_name"], _kind(event["args"]), event["dur"] / 1e3)


def _kind(arguments: Mapping[str, Any]) -> Kind:
    operator = arguments["op_name"]
    if operator in _CONVERSIONS:
        return "conversion"
    ports: list[dict[str, Any]] = arguments.get("input_type_shape") or []
    inputs = [dtype for port in ports for dtype in port]
    return "int8" if operator.startswith("QLinear") or (inputs[:1] and inputs[0] in _EIGHT_BITS) else "float"


def openvino_times(calls: Iterable[Iterable[Any]]) -> tuple[LayerTime, ...]:
    """Read the `profiling_info` of OpenVINO's calls: the layers that were executed and not fused away."""
    return typical(
        (info.node_name, LayerTime(info.node_name, info.node_type, _openvino_kind(info), _ms(info)))
        for call in calls
        for info in call
        if info.status == info.Status.EXECUTED
    )


def _ms(info: Any) -> float:
    return info.real_time.total_seconds() * 1e3


def _openvino_kind(info: Any) -> Kind:
    """Tell by the kernel's name, as "brgconv_avx512_i8"."""
    if info.node_type in ("FakeQuantize", "Convert"):
        return "conversion"
    return "int8" if info.exec_type.lower().endswith(("_i8", "_u8")) else "float"
