"""What can be set of the stage `quantize`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from edgegan.compress.quantize.calibrate.calibrators import Calibrator
from edgegan.compress.quantize.choose.budget import parse
from edgegan.compress.quantize.improve.qat_settings import TrainingSettings
from edgegan.compress.stage import Settings
from edgegan.target import Target


def _given_or_none(value: Any) -> dict[str, float] | None:
    return None if value is None else parse(value)


class QuantizeSettings(Settings):
    """How to quantize."""

    RENAMED: ClassVar[dict[str, str]] = {"adaptive_rounding": "gptq"}

    targets: tuple[str, ...] = Field(default=("x64-cpu",), min_length=1)
    """What to write INT8 files for: names of targets, or YAML files of your own, beside the recipe."""
    calibrator: Literal["auto"] | Calibrator = "auto"
    """How an activation's range is found; see `Histogram.levels`. "auto" tries `weighted_mse`, `mse`,
    `percentile` and `mae`."""
    equalize: bool | Literal["auto"] = "auto"
    """Whether channels are centred and equalized first (see `equalize_channels`); "auto" tries both, and
    leaves it out where the outputs would change by more than rounding."""
    gptq: bool = True
    """Whether to try weights rounded for the least error of each layer's outputs; see `round_weights`."""
    bias_correction: bool = True
    """Whether to try biases that take up each layer's mean error; see `float_means`."""
    headroom: bool = True
    """Whether to try activations' levels that reach farther than calibration says, where the budget is in dB:
    it holds for rare inputs too, which reach farther."""
    fast: bool = False
    """Calibrate alone: one calibrator, nothing tried on top, and no budget unless `quality` names one."""
    samples: int = Field(default=256, ge=1)
    """How many of the contract's samples to calibrate with; fewer where a network is heavy, which the record
    then says (`bounded`): see `Effort`."""
    skip: tuple[str, ...] = ()
    """Names of layers to leave in float. A cheap last layer always is: its output is what one sees."""
    sensitivity: bool = False
    """Whether to measure what each layer alone in INT8 does to the outputs: one quantization a layer more."""
    quality: Annotated[dict[str, float] | None, BeforeValidator(_given_or_none)] = None
    """What INT8 must reach, as `{fid_10k_increase: 3%}` or `{psnr_db: 40}`: layers stay in float for it,
    those that earn most for the time that they lose. A budget that is asked for is met, or there is an error.
    By default it is 40 dB, and where that cannot be met, the file that comes nearest is written, and the run
    says so. `{}` asks for nothing."""
    distill: TrainingSettings | None = None
    """Train each target's graph under its levels before it is written; without, it is only calibrated."""

    def read_targets(self) -> dict[str, Target]:
        """Return the targets by what `targets` calls them.

        Raises:
            RecipeError: there is no such target, or its file is not well formed.
        """
        return {name: Target.read(name, self._folder) for name in self.targets}
