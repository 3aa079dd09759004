"""What can be set of each algorithm."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from edgegan.learning.devices import Precision
from edgegan.learning.losses import adversarial
from edgegan.recipe import Data


class GanSettings(Data):
    """Settings of adversarial training; a step is one update of the generator."""

    steps: PositiveInt = 30_000
    batch: PositiveInt = 128
    loss: adversarial.Name = "hinge"
    """What the two players minimize."""
    penalty: float | None = Field(default=None, ge=0)
    """Weight of the discriminator's gradient penalty: WGAN-GP's own for `wgan-gp` (by default 10), R1 and R2
    for `relativistic` (by default 0.1), R1 for the others (by default none)."""
    penalty_every: PositiveInt = 1
    """Steps from one gradient penalty to the next, which weighs as many times more (Karras et al. 2020,
    arXiv:1912.04958)."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """What is taken from the target 1 of real samples (one-sided label smoothing: Salimans et al. 2016,
    arXiv:1606.03498), of `bce` alone."""
    discriminator_steps: PositiveInt = 2
    """Updates of the discriminator for each update of the generator."""
    generator_rate: PositiveFloat = 2e-4
    discriminator_rate: PositiveFloat = 4e-4
    """Adam's learning rates, on two time scales (Heusel 2017, arXiv:1706.08500); both fall
    linearly to 0 over the last half."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay, per step, of the moving average of the generator's weights, which is what is kept."""
    augment: bool | Literal["adaptive"] = True
    """DiffAugment (Zhao 2020) on real and generated images: all of them, or `adaptive`, a share that grows
    with the discriminator's lead (ADA: Karras et al. 2020, arXiv:2006.06676)."""
    flip: bool = True
    """Mirror half of the real images."""
    labelled: PositiveInt | None = None
    """Real samples, as many of each class, whose labels the discriminator learns, of the kind of
    `edgegan.models.semi_supervised`; without, none."""

    @model_validator(mode="after")
    def _check_smoothing(self) -> GanSettings:
        if self.smoothing and self.loss != "bce":
            raise ValueError(f"smoothing is of the targets of bce, and {self.loss} has none: set loss to bce")
        return self


class PairedSettings(Data):
    """Settings of training on pairs of inputs and targets; a weight of 0 turns its loss off.

    By default all that counts is the distance to the target; pix2pix (arXiv:1611.07004) has `output` at 100
    and `adversarial` at 1, HiFi-GAN (arXiv:2010.05646) `mel` at 45, `perceptual` and `adversarial`.
    """

    steps: PositiveInt = 20_000
    batch: PositiveInt = 64
    learning_rate: PositiveFloat = 2e-4
    """Adam's rate for the generator, at its highest."""
    discriminator_learning_rate: PositiveFloat = 2e-4
    """Adam's rate for the discriminator, at its highest."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """How both rates fall to 0, after a linear rise over the first 2% of the steps."""
    output: float = Field(default=1.0, ge=0)
    """Weight of the L1 distance to the target, in units of half the output's range."""
    mel: float = Field(default=0.0, ge=0)
    """Weight of the distance of logarithmic mel spectrograms, of sound."""
    stft: float = Field(default=0.0, ge=0)
    """Weight of the distance in spectrograms of several resolutions, of sound."""
    adversarial: float = Field(default=0.0, ge=0)
    """Weight of the loss against a discriminator of outputs and targets."""
    loss: Literal["hinge", "bce", "lsgan", "relativistic"] = "lsgan"
    """What generator and discriminator minimize."""
    perceptual: float = Field(default=0.0, ge=0)
    """Weight of the L1 distance between the discriminator's features of output and target."""
    content: float = Field(default=0.0, ge=0)
    """Weight of the L1 distance between an extractor's deepest features of output and target, of pictures."""
    style: float = Field(default=0.0, ge=0)
    """Weight of the distance between Gram matrices of an extractor's features of output and painting, of
    pictures."""
    variation: float = Field(default=0.0, ge=0)
    """Weight of the differences between neighbouring pixels of the output, of pictures."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay, per step, of the moving average of the generator's weights, which is what is kept."""

    @model_validator(mode="after")
    def _check_weights(self) -> PairedSettings:
        if not any((self.output, self.mel, self.stft, self.adversarial, self.content, self.style)):
            raise ValueError("there is nothing to learn from: every weight is 0")
        if self.perceptual and not self.adversarial:
            raise ValueError("perceptual compares features of a discriminator that learns: set adversarial")
        return self


class UnpairedSettings(Data):
    """Settings of training without pairs; a weight of 0 turns its loss off, and defaults are CycleGAN's."""

    steps: PositiveInt = 20_000
    batch: PositiveInt = 16
    """Pictures of each kind in each step."""
    learning_rate: PositiveFloat = 2e-4
    """Adam's rate for both generators, at its highest."""
    discriminator_learning_rate: PositiveFloat = 2e-4
    """Adam's rate for both discriminators, at its highest."""
    schedule: Literal["cosine", "linear"] = "linear"
    """How both rates fall to 0, after a linear rise over the first 2% of the steps."""
    loss: Literal["hinge", "bce", "lsgan", "relativistic"] = "lsgan"
    """What generators and discriminators minimize; its weight is 1."""
    cycle: float = Field(default=10.0, ge=0)
    """Weight of the L1 distance between pictures and what comes back, in units of half the range."""
    identity: float = Field(default=5.0, ge=0)
    """Weight of the L1 distance between pictures and what the generator of their own kind makes of them."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay, per step, of the moving average of the generator's weights, which is what is kept."""


class DistillationSettings(Data):
    """Settings of a distillation; a weight of 0 turns its loss off.

    The losses have no units and can be compared: `output` and `targets` are relative to half the output's
    range, `features` to the variance of the teacher's features, `perceptual` to the size of the
    discriminator's.
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
    targets: float = Field(default=0.0, ge=0)
    """Weight of the L1 distance between the student's outputs and real targets: arrays of the outputs' names
    in the files of stored inputs."""
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
    """Whether the discriminator sees its images through DiffAugment (Zhao et al. 2020, arXiv:2006.10738);
    outputs of other axes than (channels, height, width) it sees as they are."""
    vary: bool = False
    """Whether stored pictures are shifted around their edges, and half of them mirrored, each time that they
    are drawn; all of one sample alike. Of few, a student otherwise learns the teacher's outputs by heart."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the running average of the student's weights, which is the result; lower at the start."""
    precision: Precision = "auto"
    """Arithmetic of the forward passes: `auto` is bf16 on GPUs that have it."""
    deterministic: bool = True
    """Whether CUDA runs give the same bits each time; without, cuDNN picks its kernels by a race."""
