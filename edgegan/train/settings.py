"""The `train` section of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import PositiveInt, ValidationError

from edgegan.errors import RecipeError
from edgegan.learning.algorithms.settings import GanSettings


class TrainSettings(GanSettings):
    """How a teacher is trained, and what is shown of it on the way."""

    data: str | None = None
    """Folder, zip or npz of labelled images; `--data` takes its place."""
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
