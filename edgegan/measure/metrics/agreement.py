"""How many of the classes or tokens that are chosen are the full model's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.measure.metrics.base import MetricSpec, paired
from edgegan.runtime.contract import Output


def _share(a: NDArray[Any], b: NDArray[Any], output: Output) -> NDArray[np.float64]:
    return (a == b).reshape(len(a), -1).mean(axis=1)


CLASS_AGREEMENT = paired(
    MetricSpec("class_agreement", "equal classes", "higher", ("class_map",), unit="%", scale=100.0), _share
)
TOKEN_AGREEMENT = paired(
    MetricSpec("token_agreement", "equal tokens", "higher", ("tokens",), unit="%", scale=100.0), _share
)
