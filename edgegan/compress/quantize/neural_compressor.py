"""Our quantizer as an algorithm of neural-compressor, which calibrates and converts.

neural-compressor is imported late: it takes seconds.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from edgegan.compress.quantize.annotate import X64Quantizer, layer_macs
from edgegan.compress.quantize.observer import Calibrator
from edgegan.compress.quantize.quiet import quiet
from edgegan.errors import MissingDependency

ALGORITHM = "edgegan_x64"


def quantize(
    graph: GraphModule,
    batches: Sequence[tuple[Tensor, ...]],
    *,
    weight_max: int,
    calibrator: Calibrator,
    skip: Sequence[str],
    float_outputs: Sequence[str],
) -> GraphModule:
    """Return `graph` in Q/DQ form, calibrated on `batches` by neural-compressor; `graph` itself is used up.

    Raises:
        MissingDependency: neural-compressor is not installed.
    """
    with quiet():
        nc, config_class = _registered()
        graph.dynamic_shapes = None  # pyright: ignore[reportArgumentType]
        common = {"weight_max": weight_max, "calibrator": calibrator}
        config = config_class(**common)
        for layer in skip:
            config.set_local(f"{re.escape(layer)}$", config_class(dtype="fp32"))
        for layer in float_outputs:
            config.set_local(f"{re.escape(layer)}$", config_class(**common, output="fp32"))
        return nc.quantize(graph, config, run_fn=functools.partial(_run, batches=batches))


def quantize_by_torchao(
    graph: GraphModule,
    quantizer: X64Quantizer,
    calibrate: Callable[[GraphModule], object],
) -> GraphModule:
    """Return `graph` quantized by torchao alone: what neural-compressor's algorithm does."""
    return _convert(_calibrated(_prepare(graph, quantizer), calibrate))


def _prepare(graph: GraphModule, quantizer: X64Quantizer) -> GraphModule:
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

    return prepare_pt2e(graph, quantizer)


def _calibrated(graph: GraphModule, calibrate: Callable[[GraphModule], object]) -> GraphModule:
    calibrate(graph)
    return graph


def _convert(graph: GraphModule) -> GraphModule:
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    return convert_pt2e(graph, fold_quantize=True)


def _run(graph: GraphModule, batches: Sequence[tuple[Tensor, ...]]) -> None:
    with torch.no_grad():
        for batch in batches:
            graph(*batch)


@functools.cache
def _registered() -> tuple[Any, Any]:
    """Register our algorithm; return neural-compressor's quantization module and our configuration class."""
    try:
        from neural_compressor.common.base_config import DEFAULT_WHITE_LIST, register_config
        from neural_compressor.torch import quantization
        from neural_compressor.torch.algorithms.base_algorithm import Quantizer
        from neural_compressor.torch.quantization.config import TorchBaseConfig
        from neural_compressor.torch.utils.utility import register_algo
    except ImportError as error:
        raise MissingDependency("neural-compressor", extra="compress", purpose="INT8") from error

    @register_config(framework_name="torch", algo_name=ALGORITHM)
    class X64Config(TorchBaseConfig):
        name = ALGORITHM
        supported_configs = ()

        def __init__(
            self,
            dtype: str = "int8",
            weight_max: int = 63,
            calibrator: Calibrator = "mse",
            output: str = "uint8",
            white_list: Any = DEFAULT_WHITE_LIST,
            **kwargs: Any,
        ) -> None:
            super().__init__(white_list=white_list)
            self.dtype, self.output = dtype, output
            self.weight_max, self.calibrator = weight_max, calibrator
            self._post_init()

        @classmethod
        def register_supported_configs(cls) -> None:
            pass

        @classmethod
        def get_config_set_for_tuning(cls) -> Any:
            return cls()

        @staticmethod
        def get_model_info(model: GraphModule, **kwargs: Any) -> list[tuple[str, str]]:
            return [(layer, "layer") for layer in layer_macs(model)]

    class PT2EQuantizer(Quantizer):
        def __init__(self, quantizer: X64Quantizer) -> None:
            super().__init__({})
            self.quantizer = quantizer

        def prepare(self, model: GraphModule, *args: Any, **kwargs: Any) -> GraphModule:
            return _prepare(model, self.quantizer)

        def convert(self, model: GraphModule, *args: Any, **kwargs: Any) -> GraphModule:
            return _convert(model)

    @register_algo(name=ALGORITHM)
    def algorithm(model: GraphModule, configs_mapping: Any, mode: Any, **kwargs: Any) -> GraphModule:
        configs = {layer: config for (layer, _), config in configs_mapping.items()}
        ours = [config for config in configs.values() if config.dtype == "int8"]
        quantizer = X64Quantizer(
            weight_max=ours[0].weight_max,
            calibrator=ours[0].calibrator,
            skip=[layer for layer, config in configs.items() if config.dtype != "int8"],
            float_outputs=[layer for layer, config in configs.items() if config.output == "fp32"],
        )
        run_fn = kwargs.get("run_fn")
        quantized = PT2EQuantizer(quantizer).execute(model, mode=mode, run_fn=run_fn)
        assert isinstance(quantized, GraphModule)
        return quantized

    return quantization, X64Config
