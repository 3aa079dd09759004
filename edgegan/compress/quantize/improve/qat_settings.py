"""What can be set of a quantization-aware distillation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgegan.compress.distill import DistillSettings


class TrainingSettings(DistillSettings):
    """Settings of quantization-aware distillation: those of `distill`, with defaults for a student that has
    learned already.

    `learning_rate` is that of the weights, and of the logarithms of the scales.
    """

    steps: int = Field(default=1000, ge=1)
    batch: int = Field(default=128, ge=2)
    learning_rate: float = Field(default=3e-4, gt=0)
    output: float = Field(default=1.0, ge=0)
    """Weight of the L1 distance between the graph's and the float student's outputs of the same latents."""
    adversarial: float = Field(default=0.0, ge=0)
    features: float = Field(default=0.0, ge=0, le=0)
    """Off: the graph that is deployed has no feature maps by the teacher's names."""
    precision: Literal["fp32"] = "fp32"  # pyright: ignore[reportIncompatibleVariableOverride]
    """bf16 would round more coarsely than the levels do."""
    uint8_output: bool = False
    """Whether images are rounded to their 256 levels in training, as `uint8_output` of `export` ships them
    (the discretized output of GAN-D)."""
