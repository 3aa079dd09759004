"""Generators as people write them, brought into the form that stages know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from edgegan.compress.example_inputs import example
from edgegan.compress.export import to_onnx
from edgegan.compress.generator import load_generator
from edgegan.compress.lint import lint
from edgegan.compress.parametrization import parametrized
from edgegan.errors import ModelError
from edgegan.module_copy import copy_of
from edgegan.recipe import ModelSpec
from edgegan.runtime.contract import Contract, Input, Output

CODE = """
import torch
from collections import namedtuple
from dataclasses import dataclass
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm, weight_norm

Pair = namedtuple("Pair", "image small")

@dataclass
class Result:
    image: object
    small: object

class Generator(nn.Module):
    def __init__(self, form="list"):
        super().__init__()
        self.a, self.b, self.form = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1), form

    def forward(self, x):
        y = torch.tanh(self.b(F.relu(self.a(x))))
        small = F.avg_pool2d(y, 2)
        return {
            "list": (y, [small]), "dict": {"image": y, "other": y, "small": small}, "none": (y, None),
            "named": Pair(y, small), "data": Result(y, small), "same": [y, y * 0.5],
            "deep": {"out": [{"rgb": y}]},
        }[self.form]

class Half(nn.Module):
    def __init__(self, auto=False):
        super().__init__()
        self.a, self.b, self.auto = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1).half(), auto

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.auto):
            x = F.relu(self.a(x)).to(torch.float16)
            y = self.b(x) + torch.zeros(1, dtype=torch.half)
        return torch.tanh(y.float())

class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = weight_norm(nn.Conv2d(3, 8, 3, padding=1)), spectral_norm(nn.Conv2d(8, 3, 1))

    def forward(self, x):
        return torch.tanh(self.b(F.relu(self.a(x))))

def scripted():
    return torch.jit.script(nn.Conv2d(3, 3, 1))
"""
PICTURE = Contract((Input("x", (3, 8, 8)),), (Output("image", (3, 8, 8)),))
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated"),
    pytest.mark.filterwarnings("ignore:`torch.jit"),
]


def load(folder: Path, name: str, contract: Contract = PICTURE, **spec: Any) -> tuple[Any, list[str]]:
    (folder / "model.py").write_text(CODE)
    given: dict[str, Any] = {"callable": f"model.py:{name}", "checkpoint": "g.pt"}
    if not (folder / "g.pt").is_file():
        from edgegan.compress.load import build_module

        torch.manual_seed(0)
        torch.save(build_module(ModelSpec(**given), folder).state_dict(), folder / "g.pt")
    module, said = load_generator(ModelSpec(**given, **spec), contract, folder)
    return module, [f"{finding.what}: {finding.why}" for finding in said]


@pytest.mark.parametrize(
    ("form", "path"),
    [
        ("list", "0"),
        ("dict", "image"),
        ("none", "0"),
        ("named", "image"),
        ("data", "image"),
        ("deep", "out.0.rgb"),
    ],
)
def test_of_nested_outputs_those_of_the_contract_are_taken_and_said(
    form: str, path: str, tmp_path: Path
) -> None:
    module, said = load(tmp_path, "Generator", arguments={"form": form})
    assert said == [f"the model returns more than tensors in a row: taken are: image from {path}"]
    (x,) = example(PICTURE, 2, 0)
    assert copy_of(module)(x).shape == (2, 3, 8, 8)
    session = onnxruntime.InferenceSession(to_onnx(module, PICTURE).SerializeToString())
    np.testing.assert_allclose(
        np.asarray(session.run(None, {"x": x.numpy()})[0]), module(x).numpy(), atol=1e-6
    )


def test_two_outputs_are_told_by_name_and_by_path(tmp_path: Path) -> None:
    two = Contract(PICTURE.inputs, (Output("small", (3, 4, 4)), Output("image", (3, 8, 8))))
    module, _ = load(
        tmp_path, "Generator", two, arguments={"form": "list"}, outputs={"image": "0", "small": "1.0"}
    )
    small, image = module(*example(two, 2, 0))
    assert (small.shape, image.shape) == ((2, 3, 4, 4), (2, 3, 8, 8))


def test_outputs_that_cannot_be_told_apart_are_listed_with_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="more than one tensor") as caught:
        load(tmp_path, "Generator", arguments={"form": "same"})
    assert "0: (1, 3, 8, 8), 1: (1, 3, 8, 8)" in caught.value.what
    assert "model: {outputs: {image: '0'}}" in (caught.value.next or "")
    module, _ = load(tmp_path, "Generator", arguments={"form": "same"}, outputs={"image": "1"})
    assert torch.equal(
        module(*example(PICTURE, 2, 0)) * 2, type(module).forward(module, *example(PICTURE, 2, 0))[0]
    )


def test_float16_inside_becomes_float32(tmp_path: Path) -> None:
    module, said = load(tmp_path, "Half")
    assert said == ["float16 inside: it is computed in float32, as are the casts to it"]
    assert {weight.dtype for weight in module.parameters()} == {torch.float32}
    assert not [finding for finding in lint(copy_of(module), PICTURE, stages=[]) if finding.level == "error"]
    initializers = to_onnx(module, PICTURE).graph.initializer
    assert 10 not in {tensor.data_type for tensor in initializers}, "float16"


def test_autocast_inside_is_left_out(tmp_path: Path) -> None:
    module, said = load(tmp_path, "Half", arguments={"auto": True})
    plain, _ = load(tmp_path, "Half")
    plain.load_state_dict(module.state_dict())
    assert said == ["float16 inside: it is computed in float32, as are the casts to it"]
    assert not [finding for finding in lint(module, PICTURE, stages=[]) if finding.level == "error"]
    (sample,) = example(PICTURE, 2, 0)
    assert torch.equal(module(sample), plain(sample))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module.a(sample).dtype == torch.bfloat16


def test_norms_by_hooks_are_fixed_at_their_value_after_a_load_in_place_too(tmp_path: Path) -> None:
    module, said = load(tmp_path, "Normed")
    assert said == [
        "spectral or weight norm was left on: it is of use in training only, and was fixed at its value"
    ]
    assert parametrized(module) == []
    from edgegan.compress.load import load_module

    whole = load_module(ModelSpec(callable="model.py:Normed", checkpoint="g.pt"), tmp_path)
    (x,) = example(PICTURE, 2, 0)
    torch.testing.assert_close(module(x), whole(x), rtol=0, atol=1e-6)
    whole.load_state_dict({name: value * 0.5 for name, value in whole.state_dict().items()})
    fresh = copy_of(whole)
    assert torch.equal(fresh(x), whole(x))


def test_a_torchscript_module_is_refused_with_what_to_name_instead(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds compiled code") as caught:
        load(tmp_path, "scripted")
    assert "weights_only" not in str(caught.value)
