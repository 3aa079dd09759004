"""Suites that hold a new stage, engine, metric, modality, rewrite or loss to the contract of its kind.

Subclass one in a test file and give it what it asks for; pytest runs all of it:

    from edgegan.testing import MetricTestCase

    class TestMine(MetricTestCase):
        metric = MINE

They need pytest (`pip install 'edgegan[testing]'`), and what the kind needs: those of stages, rewrites and
losses torch, the others none.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgegan.errors import MissingDependency

if TYPE_CHECKING:
    from edgegan.testing.engines import EngineTestCase
    from edgegan.testing.losses import AdversarialLossTestCase, DistanceTestCase
    from edgegan.testing.metrics import MetricTestCase
    from edgegan.testing.modalities import ModalityTestCase
    from edgegan.testing.rewrites import RewriteTestCase
    from edgegan.testing.stages import StageTestCase

__all__ = [
    "AdversarialLossTestCase",
    "DistanceTestCase",
    "EngineTestCase",
    "MetricTestCase",
    "ModalityTestCase",
    "RewriteTestCase",
    "StageTestCase",
]

_HOMES = {
    "AdversarialLossTestCase": "losses",
    "DistanceTestCase": "losses",
    "EngineTestCase": "engines",
    "MetricTestCase": "metrics",
    "ModalityTestCase": "modalities",
    "RewriteTestCase": "rewrites",
    "StageTestCase": "stages",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgegan.testing' has no attribute {name!r}")
    home = f"edgegan.testing.{_HOMES[name]}"
    try:
        import pytest
    except ImportError as error:
        raise MissingDependency("pytest", extra="testing", purpose="a conformance suite") from error
    pytest.register_assert_rewrite(home)
    return getattr(importlib.import_module(home), name)
