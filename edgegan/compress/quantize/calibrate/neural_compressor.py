"""Our quantizer, for torchao, which prepares and converts, and for neural-compressor, which tunes with it.

neural-compressor is imported where it tunes, and nowhere else: it takes seconds.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory
from typing import Any

from torch.fx import GraphModule

from edgegan.compress.quantize.prepare.layers import layer_macs
from edgegan.compress.quantize.prepare.pt2e import convert_pt2e, prepare_pt2e
from edgegan.compress.quantize.prepare.quantizer import Int8Quantizer
from edgegan.compress.quantize.prepare.quiet import quiet
from edgegan.errors import MissingDependency
from edgegan.target import Int8

ALGORITHM = "edgegan"
_LOGS = TemporaryDirectory(prefix="edgegan-", ignore_cleanup_errors=True)
"""Where neural-compressor writes the log that it opens as it is imported; by itself, in the user's home."""
atexit.register(_LOGS.cleanup)

Calibrate = Callable[[GraphModule], object]
"""Sets the levels of a prepared graph, and may change its weights."""


def tune(
    graph: GraphModule,
    annotators: Sequence[Int8Quantizer],
    calibrate: Calibrate,
    score: Callable[[GraphModule], float],
) -> list[float]:
    """Quantize copies of `graph` with one annotator after another, until one is good enough.

    Args:
        graph: stays as it is.
        annotators: no two alike.
        calibrate: sets the levels of a prepared graph.
        score: of a graph in Q/DQ form: more than 0, and 1 or more where it is good enough.

    Returns:
        The scores; the last one's annotator is good enough, or there is none that is.

    Raises:
        MissingDependency: neural-compressor is not installed.
    """
    scores: list[float] = []

    def evaluate(model: GraphModule) -> float:
        """Score the float graph, which neural-compressor holds all others against, with 1: it comes first."""
        scores.append(score(model) if scores else 1.0)
        return scores[-1]

    with quiet():
        nc, config_class = _registered()
        graph.dynamic_shapes = None  # pyright: ignore[reportArgumentType]
        configs = [_config(config_class, annotator) for annotator in annotators]
        tuning = nc.TuningConfig(config_set=configs, tolerable_loss=0.0, max_trials=len(configs))
        nc.autotune(graph, tuning, eval_fn=evaluate, run_fn=calibrate)
    return scores[1:]


def quantize(graph: GraphModule, annotator: Int8Quantizer, calibrate: Calibrate) -> GraphModule:
    """Return `graph` in Q/DQ form, by torchao alone; `graph` itself is used up."""
    prepared = prepare(graph, annotator)
    calibrate(prepared)
    return convert(prepared)


def prepare(graph: GraphModule, annotator: Int8Quantizer) -> GraphModule:
    """Return `graph` with `Levels` where tensors are to be rounded; `graph` itself is used up."""
    with quiet():
        return prepare_pt2e(graph, annotator)


def convert(prepared: GraphModule) -> GraphModule:
    """Return a prepared graph in Q/DQ form, with weights stored as int8; `prepared` itself is used up."""
    with quiet():
        return convert_pt2e(prepared, fold_quantize=True)


def _config(config_class: Any, annotator: Int8Quantizer) -> Any:
    """Return neural-compressor's configuration that stands for `annotator`."""
    common = {"int8": annotator.int8}
    config = config_class(**common)
    for layer in annotator.skip:
        config.set_local(f"{re.escape(layer)}$", config_class(**common, dtype="fp32"))
    for layer in annotator.float_outputs:
        config.set_local(f"{re.escape(layer)}$", config_class(**common, output="fp32"))
    return config


@functools.cache
def _registered() -> tuple[Any, Any]:
    """Register our algorithm; return neural-compressor's quantization module and our configuration class."""
    os.environ.setdefault("HABANA_LOGS", _LOGS.name)
    try:
        from neural_compressor.common.base_config import DEFAULT_WHITE_LIST, register_config
        from neural_compressor.torch import quantization
        from neural_compressor.torch.algorithms.base_algorithm import Quantizer
        from neural_compressor.torch.quantization.config import TorchBaseConfig
        from neural_compressor.torch.utils.utility import register_algo
    except ImportError as error:
        raise MissingDependency("neural-compressor", extra="compress", purpose="INT8") from error

    @register_config(framework_name="torch", algo_name=ALGORITHM)
    class EdgeganConfig(TorchBaseConfig):
        name = ALGORITHM
        supported_configs = ()

        def __init__(
            self,
            int8: Int8 | None = None,
            dtype: str = "int8",
            output: str = "int8",
            white_list: Any = DEFAULT_WHITE_LIST,
            **kwargs: Any,
        ) -> None:
            super().__init__(white_list=white_list)
            self.int8, self.dtype, self.output = int8, dtype, output
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
        def __init__(self, annotator: Int8Quantizer) -> None:
            super().__init__({})
            self.annotator = annotator

        def prepare(self, model: GraphModule, *args: Any, **kwargs: Any) -> GraphModule:
            return prepare(model, self.annotator)

        def convert(self, model: GraphModule, *args: Any, **kwargs: Any) -> GraphModule:
            return convert(model)

    @register_algo(name=ALGORITHM)
    def algorithm(model: GraphModule, configs_mapping: Any, mode: Any, **kwargs: Any) -> GraphModule:
        configs = {layer: config for (layer, _), config in configs_mapping.items()}
        annotator = Int8Quantizer(
            next(config.int8 for config in configs.values()),
            skip=[layer for layer, config in configs.items() if config.dtype != "int8"],
            float_outputs=[layer for layer, config in configs.items() if config.output == "fp32"],
        )
        run_fn = kwargs.get("run_fn")
        quantized = PT2EQuantizer(annotator).execute(model, mode=mode, run_fn=run_fn)
        assert isinstance(quantized, GraphModule)
        return quantized

    return quantization, EdgeganConfig
