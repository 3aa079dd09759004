"""The `train` section of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError

from edgegan.errors import RecipeError
from edgegan.recipe import Data


class TrainSettings(Data):
    """How a teacher is trained; a step is one update of the generator."""

    data: str | None = None
    """Folder, zip or npz of labelled images; `--data` takes its place."""
    steps: PositiveInt = 30_000
    batch: PositiveInt = 128
    discriminator_steps: PositiveInt = 2
    """Updates of the discriminator for each update of the generator."""
    generator_rate: PositiveFloat = 2e-4
    discriminator_rate: PositiveFloat = 4e-4
    """Adam's learning rates, on two time scales (Heusel 2017, arXiv:1706.08500); both fall
    linearly to 0 over the last half."""
    ema: float = Field(0.999, ge=0, lt=1)
    """Decay, per step, of the moving average of the generator's weights, which is what is kept."""
    augment: bool = True
    """DiffAugment (Zhao 2020) on real and generated images."""
    flip: bool = True
    """Mirror half of the real images."""
    log_every: PositiveInt = 50
    sample_every: PositiveInt = 1000
    score_every: PositiveInt = 5000
    score_samples: PositiveInt = 10_000

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> TrainSettings:
        """Check a recipe's `train` section.

        Raises:
            RecipeError: an unknown key or a value out of range.
        """
        try:
            return cls.model_validate(dict(section))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise RecipeError(
                f"train.{key}: {first['msg']}", next=f"the keys of train are {', '.join(cls.model_fields)}"
            ) from error
