"""What TensorRT says while it parses, builds and runs; kept, and not printed."""

from __future__ import annotations

from typing import Any

from edgegan.runtime.engines.tensorrt_module import TensorRT

_HARMLESS = ("has Int64 binding",)
"""Parser warnings that say only what the caller of a network must know, and `TensorRTEngine` does."""


def logger(trt: TensorRT) -> Any:
    """Return a logger of this module that keeps what matters and prints nothing."""
    severity = trt.module.ILogger.Severity

    class Log(trt.module.ILogger):
        """Keeps warnings, errors, and the builder's description of the engine."""

        def __init__(self) -> None:
            trt.module.ILogger.__init__(self)
            self.warnings: list[str] = []
            self.errors: list[str] = []
            self.described = ""

        def log(self, level: Any, message: str) -> None:
            if message.startswith("Layers:"):
                self.described = message
            elif level == severity.WARNING and not any(text in message for text in _HARMLESS):
                self.warnings.append(message.strip())
            elif level == severity.ERROR:
                self.errors.append(message.strip())

        def worst(self) -> str:
            return "; ".join(self.errors) or "it gives no reason"

    return Log()
