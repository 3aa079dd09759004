"""What TensorRT says while it parses, builds and runs; kept, and not printed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from edgegan.runtime.engines.tensorrt.module import TensorRT

_HARMLESS = ("has Int64 binding", "scales to fp32")
"""Warnings of what the caller of a network must know, and `TensorRTEngine` does; and that float16 scales of
INT8 layers are kept in a wider type."""
_MOST = 1000
_LOGGERS: dict[str, Any] = {}
"""One for each module: TensorRT hears only the first logger of a process while anything that has it lives."""
_LOCK = threading.RLock()


def _messages() -> deque[str]:
    return deque(maxlen=_MOST)


@dataclass
class Said:
    """What TensorRT said during something."""

    warnings: deque[str] = field(default_factory=_messages)
    errors: deque[str] = field(default_factory=_messages)
    described: str = ""
    """The builder's description of the engine's layers."""

    def worst(self) -> str:
        """Return the errors in one line."""
        return "; ".join(self.errors) or "it gives no reason"


@contextmanager
def listening(trt: TensorRT) -> Generator[tuple[Any, Said], None, None]:
    """Give the logger of this module, and what is said until the block ends; one thread at a time."""
    with _LOCK:
        if trt.name not in _LOGGERS:
            _LOGGERS[trt.name] = _logger(trt)
        log = _LOGGERS[trt.name]
        before, log.said = log.said, Said()
        try:
            yield log, log.said
        finally:
            log.said = before


def last_error(trt: TensorRT) -> str:
    """Return the last error that was said where nobody was listening."""
    log = _LOGGERS.get(trt.name)
    return log.said.errors[-1] if log and log.said.errors else Said().worst()


def _logger(trt: TensorRT) -> Any:
    severity = trt.module.ILogger.Severity

    class Log(trt.module.ILogger):
        """Puts warnings, errors, and the builder's description of an engine into `said`."""

        def __init__(self) -> None:
            trt.module.ILogger.__init__(self)
            self.said = Said()

        def log(self, level: Any, message: str) -> None:
            if message.startswith("Layers:"):
                self.said.described = message
            elif level == severity.WARNING and not any(text in message for text in _HARMLESS):
                self.said.warnings.append(message.strip())
            elif level == severity.ERROR:
                self.said.errors.append(message.strip())

    return Log()
