"""What can be set of a distillation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgegan.compress.stage import Settings


class DistillSettings(Settings):
    """Settings of `Distill`; a weight of 0 turns its loss off.

    The losses have no units and can be compared: `output` is relative to half the output's range, `features`
    to the variance of the teacher's features, `perceptual` to the size of the discriminator's.
    """

    steps: int = Field(default=20_000, ge=1)
    """Updates of the student."""
    batch: int = Field(default=128, ge=2)
    """Latents in each update, over all processes together."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Adam's rate for the student, at its highest."""
    discriminator_learning_rate: float = Field(default=4e-4, gt=0)
    """Adam's rate for the discriminator, at its highest."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """How both rates fall to 0, after a linear rise over the first 2% of the steps."""
    output: float = Field(default=0.2, ge=0)
    """Weight of the L1 distance between the student's and the teacher's outputs of the same latents."""
    features: float = Field(default=0.05, ge=0)
    """Weight of the squared distance between their feature maps, through 1x1 adapters."""
    taps: int = Field(default=4, ge=1)
    """Feature maps that are compared, at most."""
    perceptual: float = Field(default=0.5, ge=0)
    """Weight of the L1 distance between a discriminator's features of both outputs; needs a discriminator."""
    adversarial: float = Field(default=1.0, ge=0)
    """Weight of the hinge loss against a discriminator that takes the teacher's outputs as real."""
    discriminator_steps: int = Field(default=1, ge=1)
    """Updates of the discriminator for each of the student."""
    augment: bool = True
    """Whether the discriminator sees its images through DiffAugment (Zhao et al. 2020, arXiv:2006.10738)."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the running average of the student's weights, which is the result; lower at the start."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the forward passes: `auto` is bf16 on GPUs that have it."""
    deterministic: bool = True
    """Whether CUDA runs give the same bits each time; without, cuDNN picks its kernels by a race."""
