"""The files of the recipe that ships, built as TensorRT engines without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip(
    "tensorrt_rtx", reason="tensorrt_rtx builds these engines; it has no wheel for this machine"
)

from edgegan.compress.export import export_onnx
from edgegan.compress.load import load_module
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.recipe import Recipe
from edgegan.runtime.engines.tensorrt_build import build_engine

RECIPE = Path(__file__).parents[2] / "recipes" / "cifar10"


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    recipe = Recipe.read(RECIPE)
    teacher = load_module(recipe.model, RECIPE)
    full = Candidate(teacher, teacher, recipe.contract)
    return Prune(PruneSettings(macs=0.125, align=8)).run(full, Context(tmp_path_factory.mktemp("prune")))


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("fp16", "float16")])
def test_the_recipes_student_is_built_as_its_file_says(
    student: Candidate, tmp_path: Path, precision, dtype: str
) -> None:
    export_onnx(student.student, student.contract, tmp_path / "model.onnx", precision=precision)
    built = build_engine((tmp_path / "model.onnx").read_bytes())
    assert built.strongly_typed
    assert built.warnings == ()
    convolutions = [layer for layer in built.layers if layer.kind in ("correlation", "deconv")]
    assert len(convolutions) >= 9
    assert {layer.precision for layer in convolutions} == {dtype}
