"""Quantization-aware distillation: the student rounds as its file will, and learns the scales too."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from edgegan.learning.algorithms.distillation import Distillation
from edgegan.learning.monitor import Vitals

SCALES_LEARN = 2 / 3
"""Share of the steps in which scales are learned; in the rest the weights settle under scales that stay."""


@runtime_checkable
class LearnsScales(Protocol):
    """A module that rounds, with scales that follow gradients."""

    def freeze_scales(self) -> None:
        """Let no gradient reach the scales any more."""
        ...


class QuantizationAwareDistillation(Distillation):
    """A distillation whose student is a `LearnsScales`."""

    def vitals(self) -> Vitals:
        """Tell nothing: the student begins so near that any step is far."""
        return Vitals()

    def phase(self, step: int) -> int:
        """Freeze the scales for the last third of the steps."""
        settling = step >= SCALES_LEARN * self.settings.steps
        if settling:
            assert isinstance(self.student, LearnsScales)
            self.student.freeze_scales()
        return int(settling)
