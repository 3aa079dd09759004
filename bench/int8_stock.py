"""INT8 as stock onnxruntime makes it: `quantize_static` with its defaults."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

Batch = dict[str, NDArray[Any]]


class _Reader(CalibrationDataReader):
    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> Batch | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return next(self._batches, None)


def quantize_stock(
    model: onnx.ModelProto, batches: Sequence[Batch], in_float: Sequence[str], path: Path
) -> None:
    """Write `model` in INT8 to `path`, calibrated on `batches`, and beside it what a session makes of it.

    Nodes named in `in_float` are left as they are.
    """
    with TemporaryDirectory() as folder:
        given, prepared = Path(folder) / "given.onnx", Path(folder) / "prepared.onnx"
        onnx.save(model, given)
        logging.disable(logging.WARNING)
        try:
            _prepare(given, prepared)
            quantize_static(prepared, path, _Reader(batches), nodes_to_exclude=list(in_float))
        finally:
            logging.disable(logging.NOTSET)
    _optimize(path, _optimized(path))


def as_it_runs(path: Path) -> Path:
    """Return the file to run for `path`: for a stock one, what a session of default settings makes of it.

    On x64 that has uint8 activations in the place of int8 ones, whose kernels are many times slower there;
    `OnnxRuntimeEngine` keeps int8, so that outputs are those of arm64.
    """
    return _optimized(path) if _optimized(path).exists() else path


def _optimized(path: Path) -> Path:
    return path.with_name(f"{path.stem}.optimized.onnx")


def _optimize(path: Path, optimized: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(optimized)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _prepare(model: Path, prepared: Path) -> None:
    """Run `quant_pre_process`; without symbolic shapes where it finds none, or ends in an error of its own.

    It leaves files of its own where it runs.
    """
    model, prepared, here = model.resolve(), prepared.resolve(), Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            quant_pre_process(model, prepared)
        except Exception:
            quant_pre_process(model, prepared, skip_symbolic_shape=True)
        finally:
            os.chdir(here)
