"""Latency in a fraction of a second, and told on a busy machine too: for tests of what is around it."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from edgegan.measure import disturbance, latency
from edgegan.runtime.artifact import USUAL_ENGINE


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Measure shortly, on one engine, and withhold nothing."""
    patch.setattr("edgegan.evaluate.evaluation.SECONDS", 0.05)
    patch.setattr(latency, "STARTS", 2)
    patch.setattr(latency, "ROUNDS", 2)
    if find_spec("torch"):  # the device's floors are tested without
        patch.setattr("edgegan.compress.run_models.measuring_engines", lambda: [USUAL_ENGINE])
    withhold_nothing(patch)


def withhold_nothing(patch: pytest.MonkeyPatch) -> None:
    """Take all calls as they are, however busy the machine is."""
    for name, value in {"LOST_LIMIT": 1.0, "SHORT_LIMIT": 0.0, "BESIDE_LIMIT": 0.0, "AGREEMENT": 1e9}.items():
        patch.setattr(disturbance, name, value)
