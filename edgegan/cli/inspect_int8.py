"""`edgegan inspect --int8`: what of a bundle's INT8 models really runs in INT8."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from edgegan.errors import EdgeganError, InputError, MissingDependency, ModelError
from edgegan.runtime.artifact import USUAL_ENGINE, Artifact
from edgegan.runtime.bundle import Bundle

SECONDS, GIBIBYTES = 120, 4
"""What one file may take: its graph is inferred, and optimized by the engine."""
KERNELS = ("correlation", "gemm", "deconv", "CaskConvolution", "CaskGemmConvolution")
"""What TensorRT calls kernels that multiply and add; others of a layer do what is left of it."""


def findings(bundle: Bundle) -> dict[str, dict[str, Any]]:
    """Return by precision what the INT8 models of a bundle come to.

    Each has `file`, `engine`, `int8_macs_share` (0..1) and `layers`: for each its `layer`, `macs_share`
    (0..1) and `precision`. For ONNX Runtime `precision` is that of the kernel in the graph as optimized for
    this machine, and `operators` and `float_operators` count its nodes. For TensorRT it is what the file asks
    for, and `built` that of the kernels in the engine, where TensorRT is installed and can build here. For
    other engines it is what the file asks for.

    Raises:
        InputError: the bundle has no INT8 model.
        MissingDependency: onnx or another package of the host is not installed.
    """
    artifacts = [artifact for artifact in bundle.manifest.artifacts if artifact.precision == "int8"]
    if not artifacts:
        raise InputError(
            f"the bundle has no INT8 model: it has {', '.join(bundle.manifest.models)}",
            where=str(bundle.folder),
            next="give the recipe the stage `- quantize: {}`, and compress again",
        )
    shapes = {spec.name: spec.shape for spec in bundle.manifest.contract.inputs}
    return {artifact.name: _found(bundle.folder / artifact.file, artifact, shapes) for artifact in artifacts}


def _found(path: Path, artifact: Artifact, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    try:
        import onnx

        from edgegan.compress.quantize.deploy.int8_coverage import annotated, kernels
        from edgegan.compress.quantize.deploy.onnx_macs import layer_macs
        from edgegan.compress.sandbox import limited
    except ImportError as error:
        raise MissingDependency("onnx", extra="compress", purpose="inspect --int8") from error
    ours = artifact.optimized_by(USUAL_ENGINE)
    with limits_told(path):
        found, macs = limited(
            lambda: [(kernels if ours else annotated)(path, shapes), layer_macs(onnx.load(path), shapes)],
            "what runs in INT8 cannot be told",
            seconds=SECONDS,
            gibibytes=GIBIBYTES,
        )
    int8 = found["int8_layers"]
    total = sum(macs.values())
    layers = [
        {
            "layer": layer,
            "macs_share": round(count / total, 4) if total else 0.0,
            "precision": "int8" if layer in int8 else "float",
        }
        for layer, count in macs.items()
    ]
    about = {"file": path.name, "int8_macs_share": found["int8_macs_share"], "layers": layers}
    if artifact.engine == "tensorrt":
        return {**about, **_built(path, layers)}
    if not ours:
        return {**about, "engine": artifact.engine}
    engine = f"onnxruntime {onnxruntime_version()}"
    operators = {name: found[name] for name in ("operators", "float_operators")}
    return {**about, "engine": engine, **operators}


@contextmanager
def limits_told(path: Path) -> Iterator[None]:
    """Say which file, and what next, where looking into one fails."""
    try:
        yield
    except ModelError as error:
        again = "make the bundle again with edgegan compress; if it is a stranger's, do not run it"
        raise ModelError(error.what, where=str(path), next=again) from error


def onnxruntime_version() -> str:
    """Return the version of the installed onnxruntime."""
    import onnxruntime

    return str(onnxruntime.__version__)


def _built(path: Path, layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Build an engine, and add to `layers` what its kernels compute in; say what built it, or why not."""
    from edgegan.runtime.engines.tensorrt.build import build_engine

    try:
        built = build_engine(path.read_bytes())
    except EdgeganError as error:
        return {"engine": None, "not_built": error.what}
    kernels = sorted(built.layers, key=lambda kernel: kernel.kind not in KERNELS)
    for entry in layers:
        own = (kernel.precision for kernel in kernels if entry["layer"] in kernel.nodes)
        entry["built"] = next(own, None)
    return {"engine": built.trt.text}


def shown(found: dict[str, dict[str, Any]]) -> Iterator[str | Table]:
    """Yield what to print of `findings`: for each model a line, a table, and lines beneath it."""
    for precision, model in found.items():
        share, count = model["int8_macs_share"], len(model["layers"])
        int8 = sum(layer["precision"] == "int8" for layer in model["layers"])
        where = f"{precision}: {model['file']} on {model['engine'] or 'TensorRT'}"
        yield f"{where}: {share:.1%} of the MACs in INT8, {int8} of {count} layers"
        yield _table(model["layers"])
        if "operators" in model:
            yield f"operators   {_counts(model['operators'])}"
            yield f"in float    {_counts(model['float_operators'])}"
        if "not_built" in model:
            yield f"no engine   {model['not_built']}; the table says what the file asks for"


def _table(layers: list[dict[str, Any]]) -> Table:
    built = any("built" in layer for layer in layers)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("layer", no_wrap=True)
    table.add_column("MACs", justify="right")
    table.add_column("asked for" if built else "precision")
    if built:
        table.add_column("built")
    for layer in layers:
        row = [layer["layer"], f"{layer['macs_share']:.1%}", layer["precision"]]
        table.add_row(*row, *([layer["built"] or "not told"] if built else []))
    return table


def _counts(operators: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in operators.items()) or "none"
