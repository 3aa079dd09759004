"""Our own engines, held to what any engine has to keep."""

from __future__ import annotations

from pathlib import Path

from edgegan.runtime.engines.registry import engine_kind
from edgegan.testing import EngineTestCase
from edgegan.testing.engines import MODEL


class TestOnnxRuntime(EngineTestCase):
    kind = engine_kind("onnxruntime")


class TestOpenVino(EngineTestCase):
    kind = engine_kind("openvino")


def test_the_suites_model_is_the_one_that_the_fixtures_are_made_of(models: Path) -> None:
    assert MODEL.read_bytes() == (models / "labelled.onnx").read_bytes()
