"""Networks that people stumbled over: each comes out as files that give what it gives, or with a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgegan.compress.example_inputs import example
from edgegan.compress.export import Export
from edgegan.compress.generator import load_generator
from edgegan.compress.lint import lint
from edgegan.compress.stage import Candidate, Context
from edgegan.compress.stages import build_stages
from edgegan.errors import EdgeganError
from edgegan.recipe import Recipe
from edgegan.runtime.bundle import write_bundle
from edgegan.runtime.contract import Contract, Input, Sample
from edgegan.runtime.generator import Generator
from edgegan.runtime.modality.image import to_uint8

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`torch"),
    pytest.mark.filterwarnings("ignore:.*torch.nn.utils.weight_norm"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
WHOLE: dict[str, dict[str, Any]] = {
    "batch-statistics": {},
    "bright-photos": {},
    "data-parallel-ema-spectral": {"key": None, "prefix": ""},
    "dropout-always-on": {"noise": "mean"},
    "equalized-fir": {},
    "groupnorm-attention": {},
    "half-inside": {},
    "half-overflow": {},
    "image-and-list": {},
    "large-photos": {},
    "modulated-conv": {},
    "noise-in-forward": {"noise": "fixed"},
    "norm-already-removed": {},
    "onehot-and-psi": {},
    "own-attention": {},
    "photos-of-any-size": {},
    "python-numbers": {"call": {"depth": 3, "alpha": 0.75}},
    "uint8-photo-in": {},
    "weight-norm-hooks-vocoder": {},
}
"""What goes through, and what its recipe then says of the model."""
REFUSED = {
    "dropout-always-on": "the same input gives another output",
    "five-d-grid-sample": "no layer for 5-D GridSample",
    "noise-in-forward": "the same input gives another output",
    "python-numbers": "missing 2 required positional arguments",
    "torchscript-model": "gave a TorchScript module",
    "torchscript": "gave a TorchScript module",
}
"""What is refused before anything is trained, and in which words."""


@pytest.fixture
def cases(shared: Path) -> Path:
    folder = shared.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"the small networks are absent: looked in {folder}")
    return folder


@pytest.mark.parametrize("name", WHOLE)
def test_the_bundle_gives_what_the_model_gives(name: str, cases: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(cases / name)
    module, _ = load_generator(recipe.model.model_copy(update=WHOLE[name]), recipe.contract, recipe.folder)
    findings = lint(module, recipe.contract, stages=build_stages(recipe))
    assert [f.what for f in findings if f.level == "error" and "pruned so far" not in f.what] == []
    stage, before = Export(), Candidate(module, module, recipe.contract)
    after = stage.run(before, Context(tmp_path))
    stage.ensures(before, after)
    _equal(after, tmp_path)


def _equal(candidate: Candidate, folder: Path) -> None:
    write_bundle(
        folder / "bundle",
        name="case",
        contract=candidate.contract,
        models=candidate.artifacts,
        default="fp32",
    )
    with Generator.load(folder / "bundle", engine="onnxruntime") as generator, torch.no_grad():
        given = generator.outputs(3, seed=5)
        results: Any = candidate.student(*example(candidate.contract, 3, 5))
    results = results if isinstance(results, (tuple, list)) else [results]
    for spec, result in zip(candidate.contract.outputs, results, strict=True):
        if given[spec.name].dtype == np.uint8:
            expected = to_uint8(result.numpy(), spec.range).astype(int)
            assert np.abs(given[spec.name] - expected).max() <= 1
        else:
            np.testing.assert_allclose(given[spec.name], result.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_go_through_is_told_before_anything_is_trained(name: str, cases: Path) -> None:
    recipe = Recipe.read(cases / name)
    try:
        module, _ = load_generator(recipe.model, recipe.contract, recipe.folder)
        found = lint(module, recipe.contract, stages=build_stages(recipe))
        told = [f"{f.what}: {f.why}" for f in found if f.level == "error"]
    except EdgeganError as error:
        told = [error.what]
    assert any(REFUSED[name] in text for text in told), told


def test_noise_may_be_an_input_of_the_contract(cases: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(cases / "noise-in-forward")
    noise = tuple(Input(f"noise_{size}", (1, size, size)) for size in (8, 16))
    contract = Contract((*recipe.contract.inputs, *noise), recipe.contract.outputs)
    named = recipe.model.model_copy(update={"noise": ("noise_8", "noise_16")})
    module, _ = load_generator(named, contract, recipe.folder)
    after = Export().run(Candidate(module, module, contract), Context(tmp_path))
    _equal(after, tmp_path)


def test_labels_and_truncation_need_no_file(cases: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(cases / "onehot-and-psi")
    z, _, _ = recipe.contract.inputs
    inputs = (
        z,
        Input("c", (10,), sample=Sample("one_hot")),
        Input("psi", (), sample=Sample("constant", value=0.7)),
    )
    contract = Contract(inputs, recipe.contract.outputs)
    module, _ = load_generator(recipe.model, contract, recipe.folder)
    after = Export().run(Candidate(module, module, contract), Context(tmp_path))
    _equal(after, tmp_path)
