"""The interface: a metric says what it is, and turns a file's outputs into one figure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError
from edgegan.measure.statistics import Interval, bootstrap
from edgegan.runtime.contract import Output

if TYPE_CHECKING:
    from edgegan.measure.features import Reference

Better = Literal["higher", "lower"]
Need = Literal["outputs", "pair", "reference"]

_AT_ONCE = 32 << 20
"""Values of one batch of a paired metric, which are float64 while it works."""


@dataclass(frozen=True)
class MetricSpec:
    """What a metric is; written into the figures, so that tables and plots need not know it."""

    name: str
    """Of its figure, with the unit where there is one: "psnr_db". A figure against a reference carries the
    number of samples as well: "fid_10k"."""
    title: str
    better: Better
    modalities: tuple[str, ...]
    """The kinds of outputs that it fits, all where it names none; and those whose modality names it."""
    needs: Need = "pair"
    """Beside the outputs: nothing ("outputs"), the full model's from equal inputs ("pair"), or features of
    real ones ("reference")."""
    unit: str = ""
    scale: float = 1.0
    """What figures are multiplied by to be shown in the unit: 100 for a share in percent."""


@dataclass(frozen=True)
class Given:
    """What a metric may look at, of one output of one file."""

    output: Output
    outputs: NDArray[Any]
    """Samples as an app gets them (N, ...): see `edgegan.runtime.modality`."""
    full: NDArray[Any] | None = None
    """The full model's, from equal inputs."""
    features: NDArray[np.float32] | None = None
    """Of all samples (M, D), in the recipe's extractor."""
    reference: Reference | None = None
    """Features of real samples, and their statistics, in the same extractor."""


@dataclass(frozen=True)
class Metric:
    """A metric: what it is, and what measures it.

    `measure` returns the figure with its 95% interval, or without one where there is none; it raises
    `DataError` where it cannot be measured. A package registers a metric as an entry point of the group
    `edgegan.metrics`, under its name.
    """

    spec: MetricSpec
    measure: Callable[[Given], Interval | float]
    version: str = ""
    """Of what measures it, where that can change: figures of another version are measured again."""


def paired(
    spec: MetricSpec, values: Callable[[NDArray[Any], NDArray[Any], Output], NDArray[np.float64]]
) -> Metric:
    """Return the metric that is the mean over pairs of `values` (n,), with a bootstrap interval over pairs.

    `values` takes batches of outputs and of the full model's, (n, ...) as an app gets them, and the output.
    """

    def measure(given: Given) -> Interval:
        outputs, full = given.outputs, pair_of(given)
        if len(outputs) < 2:
            raise DataError(f"at least 2 pairs are needed for an interval, not {len(outputs)}")
        step = max(1, _AT_ONCE // (8 * max(1, math.prod(outputs.shape[1:]))))
        parts = [
            values(outputs[start : start + step], full[start : start + step], given.output)
            for start in range(0, len(outputs), step)
        ]
        return bootstrap(np.concatenate(parts))

    return Metric(spec, measure)


def pair_of(given: Given) -> NDArray[Any]:
    """Return the full model's outputs.

    Raises:
        DataError: they are absent, or of another shape than the outputs.
    """
    if given.full is None or given.full.shape != given.outputs.shape:
        other = "none" if given.full is None else given.full.shape
        raise DataError(f"the outputs must come in pairs of one shape, not {given.outputs.shape} and {other}")
    return given.full


def against_reference(
    spec: MetricSpec, measure: Callable[[NDArray[Any], Reference], Interval | float]
) -> Metric:
    """Return the metric that `measure` gives of features (M, D) and the reference."""

    def checked(given: Given) -> Interval | float:
        if given.features is None or given.reference is None:
            raise DataError(
                f"{spec.title} needs features of real samples to compare with",
                next="give `features` and `reference`; `edgegan train-features DATA` makes both",
            )
        return measure(given.features, given.reference)

    return Metric(spec, checked)
