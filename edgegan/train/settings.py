"""The `train` section of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import Discriminator, Field, PositiveInt, Tag, ValidationError, model_validator

from edgegan.errors import RecipeError
from edgegan.learning.algorithms.settings import GanSettings, PairedSettings, UnpairedSettings
from edgegan.learning.devices import Precision
from edgegan.recipe import Data, ModelSpec
from edgegan.train.degradations import Downscale, Edges, Grey, Hole, Noise, Same
from edgegan.train.pairs import Mel

S = TypeVar("S", bound="RunSettings")


class RunSettings(Data):
    """What a training learns from, and what is shown of it on the way."""

    steps: PositiveInt
    batch: PositiveInt
    precision: Precision = "auto"
    """Arithmetic of the forward passes: `auto` is bf16 on GPUs that have it."""
    data: str | None = None
    """Folder, zip or npz of what is learnt from; `--data` takes its place."""
    half: bool = False
    """Write the weights in float16, which takes half the room; what loads them makes them float32 again."""
    log_every: PositiveInt = 50
    sample_every: PositiveInt = 1000
    score_every: PositiveInt = 5000

    @classmethod
    def of(cls: type[S], section: Mapping[str, Any]) -> S:
        """Check a recipe's `train` section.

        Raises:
            RecipeError: an unknown key or a value out of range.
        """
        try:
            return cls.model_validate(dict(section))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, ("train", *first["loc"])))
            raise RecipeError(
                f"{key}: {first['msg']}", next=f"the keys of train are {', '.join(cls.model_fields)}"
            ) from error


class TrainSettings(GanSettings, RunSettings):
    """How a teacher is trained from noise and labels, on real samples."""

    score_samples: PositiveInt = 10_000


def _kind(pairs: Any) -> Any:
    """Return what tells pairs apart; pydantic does so by a name alone only of fields without validators."""
    return pairs.get("kind") if isinstance(pairs, Mapping) else getattr(pairs, "kind", None)


class PairedTrainSettings(PairedSettings, RunSettings):
    """How a teacher is trained on pairs of inputs and targets."""

    pairs: Annotated[
        Annotated[Downscale, Tag("downscale")]
        | Annotated[Grey, Tag("grey")]
        | Annotated[Edges, Tag("edges")]
        | Annotated[Noise, Tag("noise")]
        | Annotated[Hole, Tag("hole")]
        | Annotated[Same, Tag("same")]
        | Annotated[Mel, Tag("mel")],
        Discriminator(
            _kind,
            custom_error_type="kind",
            custom_error_message="its `kind` must be downscale, grey, edges, noise, hole, same or mel",
        ),
    ]
    """What inputs are made of the data, which are the targets."""
    mirror: bool = True
    """Mirror half of the pictures."""
    tiles: bool = False
    """Cut larger pictures into tiles, in place of shrinking them."""
    size: PositiveInt | None = None
    """Height and width of the pictures that are learnt from, where the network takes any; by default the
    contract's."""
    held_out: PositiveInt = 128
    """Pairs that are never learnt from, at most a tenth of the data."""
    stored: PositiveInt = 512
    """Inputs that are left for a recipe to store, to calibrate and distil on."""
    judge: str | None = None
    """Folder, zip or npz of what is held out, in place of a part of the data; cut into tiles."""
    extractor: ModelSpec | None = None
    """A network of pictures, with its trained weights: `content` and `style` compare its features."""
    painting: str | None = None
    """The picture whose `style` is to be learnt."""

    @model_validator(mode="after")
    def _check_extractor(self) -> PairedTrainSettings:
        if (self.content or self.style) and self.extractor is None:
            raise ValueError("content and style compare an extractor's features: set extractor")
        if self.style and self.painting is None:
            raise ValueError("style is that of a picture: set painting")
        return self

    @model_validator(mode="after")
    def _check_judge(self) -> PairedTrainSettings:
        if self.size is not None and self.judge is None:
            raise ValueError("with a size of its own, training needs others to judge by: set judge")
        return self


class Kinds(Data):
    """Which folders of the data hold what."""

    inputs: str
    """Pictures that the generator takes."""
    outputs: str
    """Pictures of the kind that it is to give."""


class UnpairedTrainSettings(UnpairedSettings, RunSettings):
    """How a teacher is trained on pictures of two kinds, none of which belong together."""

    unpaired: Kinds
    mirror: bool = True
    """Mirror half of the pictures."""
    enlarge: float = Field(default=1.125, ge=1, le=4)
    """How much larger than the contract's pictures are made, before they are cut to its size at random."""
    held_out: PositiveInt = 64
    """Pictures to turn that are never learnt from, at most a tenth of them."""
    stored: PositiveInt = 256
    """Pictures that are left for a recipe to store, to calibrate and distil on."""


AnyTrainSettings = TrainSettings | PairedTrainSettings | UnpairedTrainSettings


def train_settings(section: Mapping[str, Any]) -> AnyTrainSettings:
    """Check a recipe's `train` section: `pairs` and `unpaired` say that it is of such training.

    Raises:
        RecipeError: an unknown key or a value out of range.
    """
    if "pairs" in section:
        return PairedTrainSettings.of(section)
    return UnpairedTrainSettings.of(section) if "unpaired" in section else TrainSettings.of(section)
