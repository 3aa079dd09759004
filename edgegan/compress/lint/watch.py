"""One run of a model, watched: which operations and which sizes each layer saw."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from edgegan.compress.example_inputs import example
from edgegan.runtime.contract import Contract

HALF = (torch.float16, torch.bfloat16)
MASKED = "index by mask"
"""The name that `x[mask]` is recorded under, as its result's shape depends on the data."""


CHECKED = (torch.stft, torch.istft, F.one_hot)
"""Functions that torch checks the values of, and that a trace holds as one operator."""


class _Unwatched(TorchFunctionMode):
    """Leaves out what `watch` sees inside of `CHECKED`."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.watch.paused = func in CHECKED
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.watch.paused = False


class Watch(TorchDispatchMode):
    """Records, while `run` lasts, each aten operation by layer, and the shape of each layer's first input."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: dict[str, list[str]] = defaultdict(list)
        """Operation to the names of the innermost layers that called it."""
        self.halves: list[str] = []
        """The innermost layers that computed in less than float32."""
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.paused = False
        self._stack: list[str] = [""]

    def run(self, module: nn.Module, contract: Contract) -> Any:
        """Run one sample through `module` and return what it gives."""
        with ExitStack() as stack:
            for name, layer in module.named_modules():
                stack.callback(layer.register_forward_pre_hook(self._enter(name)).remove)
                stack.callback(layer.register_forward_hook(self._leave).remove)
            with torch.no_grad(), _Unwatched(self), self:
                return module(*example(contract, 1, 0))

    def _enter(self, name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            self._stack.append(name)
            if inputs and isinstance(inputs[0], Tensor):
                self.shapes[name] = tuple(inputs[0].shape)

        return hook

    def _leave(self, *_: object) -> None:
        self._stack.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the operation, then do it."""
        if self.paused:
            return func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        if name == "index" and any(index is not None and index.dtype == torch.bool for index in args[1]):
            name = MASKED
        callers = self.operations[name]
        if self._stack[-1] not in callers:
            callers.append(self._stack[-1])
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.dtype in HALF and self._stack[-1] not in self.halves:
            self.halves.append(self._stack[-1])
        return result
