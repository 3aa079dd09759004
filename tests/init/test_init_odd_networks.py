"""What init finds out of networks of odd kinds, by trying them."""

from __future__ import annotations

import argparse
from inspect import Parameter
from typing import Any

import odd_networks
import pytest
import torch
from torch import nn

from edgegan.errors import CheckpointError, ModelError
from edgegan.init.construct import construct
from edgegan.init.examine import examine
from edgegan.init.find_out import search_all
from edgegan.init.inputs import Facts, Guess, options
from edgegan.init.ranges import output_range
from edgegan.init.search import search

ARGUMENTS: dict[str, dict[str, Any]] = {
    "DcganArgs": {"nz": 50, "ngf": 16, "nc": 1},
    "Res": {"n_res_blocks": 4, "dim": 20},
    "CGan": {"latent_dim": 33, "n_classes": 7},
    "StarLike": {"c_dim": 7},
}
PICTURE = {"low": -1.0, "high": 1.0}
EXPECTED: dict[str, tuple[list[tuple[list[int], Any]], list[tuple[list[int], list[float] | None, str]]]] = {
    "DcganArgs": ([([50, 1, 1], "normal")], [([1, 16, 16], [-1, 1], "CHW")]),
    "CGan": ([([33], "normal"), ([], 7)], [([1, 16, 16], [0, 1], "CHW")]),
    "OneHotIn": ([([48], "normal"), ([5], "one_hot")], [([3, 8, 8], [-1, 1], "CHW")]),
    "UNet": ([([3, 128, 128], PICTURE)], [([3, 128, 128], [-1, 1], "CHW")]),
    "Vocoder": ([([80, 32], "normal")], [([1, 256], [-1, 1], "audio")]),
    "Inpaint": (
        [([3, 64, 64], PICTURE), ([1, 64, 64], {"low": 0, "high": 1})],
        [([3, 64, 64], [-1, 1], "CHW")],
    ),
    "StarLike": ([([3, 64, 64], PICTURE), ([7], "one_hot")], [([3, 64, 64], [-1, 1], "CHW")]),
    "Style": ([([40], "normal")], [([3, 16, 16], None, "CHW")]),
    "Tokens": ([([32], 50)], [([32, 50], None, "tokens")]),
    "Series": ([([32, 6], "normal")], [([32, 6], [0, 1], "series")]),
    "Video": ([([30], "normal")], [([3, 4, 8, 8], [-1, 1], "video")]),
    "Voxel": ([([33, 1, 1, 1], "normal")], [([1, 8, 8, 8], [0, 1], "")]),
    "Two": ([([3, 64, 64], PICTURE), ([8], "normal")], [([3, 64, 64], [-1, 1], "CHW")]),
    "Sentence": ([([24], "normal"), ([32, 20], "normal")], [([3, 16, 16], [-1, 1], "CHW")]),
    "Styles": ([([3, 64, 64], PICTURE), ([], 6)], [([3, 64, 64], [-1, 1], "CHW")]),
    "BigLike": ([([40], "normal"), ([], 12)], [([3, 16, 16], [-1, 1], "CHW")]),
    "Gray": ([([1, 64, 64], PICTURE)], [([2, 64, 64], [-110, 110], "")]),
    "Vae": ([([32, 8, 8], "normal")], [([3, 16, 16], None, "CHW")]),
    "Classes": ([([], 11)], [([3, 4, 4], [-1, 1], "CHW")]),
    "Res": ([([3, 64, 64], PICTURE)], [([3, 64, 64], [-1, 1], "CHW")]),
    "AnyLabel": ([([20], "normal"), ([], 10)], [([1, 8, 8], [0, 1], "CHW")]),
    "WideOneHot": ([([24, 1, 1], "normal"), ([6, 1, 1], "one_hot")], [([3, 8, 8], [-1, 1], "CHW")]),
    "Sung": ([([40, 32], "normal"), ([32], "normal"), ([], 5)], [([1, 256], [-1, 1], "audio")]),
    "ByName": ([([12], "normal"), ([], 4)], [([3, 4, 4], [-1, 1], "CHW")]),
    "Recurrent": ([([24, 6], "normal")], [([24, 6], [0, 1], "series")]),
}
"""Network to its inputs (shape; kind of sample, number of classes, or a picture's range) and its outputs."""


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return getattr(odd_networks, name)(**ARGUMENTS.get(name, {})).eval()


def sample(data: dict[str, Any]) -> Any:
    drawn = data["sample"]
    return drawn.get("classes") or drawn.get("kind") or drawn


def kind(data: dict[str, Any]) -> str:
    return data["modality"]["kind"] if "modality" in data else data["layout"]


@pytest.mark.parametrize("name", EXPECTED)
def test_inputs_and_outputs_are_found(name: str) -> None:
    module = made(name)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    found = search_all(module)
    assert found.inputs is not None
    seen = examine(module, found.inputs)
    inputs, outputs = EXPECTED[name]
    assert [(entry.data["shape"], sample(entry.data)) for entry in seen.inputs] == inputs
    assert [(entry.data["shape"], kind(entry.data)) for entry in seen.outputs] == [
        (shape, layout) for shape, _, layout in outputs
    ]
    for entry, (_, wanted, _) in zip(seen.outputs, outputs):
        proven = "guess" not in entry.notes[0]
        assert proven == (wanted is not None and name != "Inpaint")
        assert wanted is None or entry.data["range"] == wanted
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_pictures_of_several_bands_are_known_by_their_names() -> None:
    names = ("ms", "pan", "hr")
    kinds = [options(Parameter(name, Parameter.POSITIONAL_ONLY), Facts(nn.Linear(9, 9))) for name in names]
    assert {found[0].guess.kind for found in kinds} == {"picture"}


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("Guided", {"ms": [4, "H", "W"], "pan": [1, "3*H", "3*W"], "output": [4, "3*H", "3*W"]}),
        ("Stretching", {"image": [3, "H", "W"], "seg": [7, "H", "W"], "image_out": [3, "H", "W"]}),
        ("GuidedFirst", {"image": [3, "H", "W"], "depth": [1, "H/4", "W/4"], "image_out": [1, "H", "W"]}),
    ],
)
def test_inputs_of_one_or_two_sizes_are_found_and_stay_tied(
    name: str, shapes: dict[str, list[int | str]]
) -> None:
    found = search_all(module := made(name))
    assert found.inputs is not None
    seen = examine(module, found.inputs)
    assert seen.shapes == shapes
    assert set(seen.sizes) == {"H", "W"}


def test_what_is_odd_is_said() -> None:
    notes, sizes, shapes = {}, {}, {}
    for name in ("Style", "UNet", "Vocoder", "Classes", "BigLike"):
        found = search(module := made(name))
        assert found.inputs
        seen = examine(module, found.inputs)
        notes[name], sizes[name], shapes[name] = " ".join(seen.notes), seen.sizes, seen.shapes
        assert seen.nested == (name in ("Style", "Classes"))
    assert "noise is drawn in forward" in notes["Style"]
    assert sizes["UNet"]["H"]["multiple"] == 128
    assert sizes["Vocoder"] == {"T": {"nominal": 32, "min": 4}}
    assert shapes["Vocoder"] == {"mel": [80, "T"], "output": [1, "8*T"]}
    assert "left out: hidden (32,)" in notes["Classes"]
    assert notes["BigLike"] == ""


def test_numbers_of_python_are_told_from_tensors() -> None:
    inputs = search(made("Progressive")).inputs
    assert inputs is not None
    assert [guess.name for guess in inputs if guess.kind == "number"] == ["depth"]


def test_a_network_that_runs_on_nothing_says_what_it_said() -> None:
    class Picky(nn.Linear):
        def forward(self, input: Any) -> Any:
            raise ValueError("only on Tuesdays")

    found = search(Picky(3, 4))
    assert found.inputs is None
    assert "only on Tuesdays" in found.complaint


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("DcganArgs", {"nz": 50, "ngf": 16, "nc": 1}),
        ("Res", {"n_res_blocks": 4, "dim": 20, "input_nc": 3}),
        ("CGan", {"latent_dim": 33, "img": 8}),
        ("StarLike", {"c_dim": 8}),
        ("Style", {"z_dim": 16}),
    ],
)
def test_the_constructors_arguments_follow_from_the_checkpoint(name: str, arguments: dict[str, Any]) -> None:
    make = getattr(odd_networks, name)
    weights = make(**arguments).state_dict()
    training = {
        "epoch": 3,
        "ema": {f"module.{key}": value for key, value in weights.items()},
        "d": {"w": torch.ones(2, 3)},
    }
    given = {"n_classes": 7} if name == "CGan" else {}
    found = construct(make, training, given, name)
    built = make(**found.arguments).state_dict()
    assert {key: value.shape for key, value in built.items()} == {
        key: value.shape for key, value in weights.items()
    }


def test_given_arguments_stand_and_what_shapes_leave_open_is_a_guess() -> None:
    class Open(nn.Module):
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.linear, self.heads = nn.Linear(width, width), heads

    weights = Open(12, 4).state_dict()
    assert construct(Open, weights, {"heads": 4}, "Open").arguments == {"heads": 4, "width": 12}
    found = construct(Open, weights, {}, "Open")
    assert found.arguments["width"] == 12
    assert found.why["heads"].startswith("guess: ")
    assert "by the shapes" in found.why["width"]


def test_what_cannot_be_inferred_says_what_to_give() -> None:
    with pytest.raises(ModelError, match="configuration, 'opt', and none that fits"):
        construct(odd_networks.Opt, {"linear.weight": torch.ones(12, 3)}, {}, "Opt")
    with pytest.raises(CheckpointError, match="--arg nz"):
        construct(odd_networks.DcganArgs, {"other": torch.ones(3, 3)}, {}, "DcganArgs")
    with pytest.raises(ModelError, match="'size' must be odd"):
        construct(odd_networks.Refusing, {"linear.weight": torch.ones(2, 2)}, {}, "Refusing")


def test_a_trainings_own_settings_come_before_what_shapes_allow() -> None:
    class Shaped(nn.Module):
        def __init__(self, latent_dim: int, shape: list[int], heads: int = 8) -> None:
            super().__init__()
            self.linear, self.shape, self.heads = nn.Linear(latent_dim, shape[0] * shape[1]), shape, heads

    weights = {f"generator.{name}": value for name, value in Shaped(6, [4, 3]).state_dict().items()}
    settings = {"latent_dim": 6, "shape": (4, 3), "heads": 2, "lr": 1e-3}
    for held in (settings, argparse.Namespace(**settings)):
        found = construct(Shaped, {"state_dict": weights, "hyper_parameters": held}, {}, "Shaped")
        assert found.arguments == {"latent_dim": 6, "shape": [4, 3], "heads": 2}
        assert "by the settings" in found.why["heads"]
    wrong = {"state_dict": weights, "hyper_parameters": {"latent_dim": 60, "shape": (4, 3)}}
    assert construct(Shaped, wrong, {"shape": [4, 3]}, "Shaped").arguments["latent_dim"] == 6


def test_one_of_two_networks_in_a_checkpoint_is_a_guess() -> None:
    weights = nn.Linear(3, 4).state_dict()
    found = construct(lambda: nn.Linear(3, 4), {"G_A": weights, "G_B": weights}, {}, "make")
    assert found.key == "G_A"
    assert any("guess" in why and "'G_B'" in why for why in found.why.values())
    averaged = construct(lambda: nn.Linear(3, 4), {"g": weights, "g_ema": weights}, {}, "make")
    assert (averaged.key, averaged.why) == (None, {})


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-3.5, 5.2, (-1, 1)),
        (0.02, 0.97, (0, 1)),
        (-0.9, 0.8, (-1, 1)),
        (-10, 265, (0, 255)),
        (30, 200, (0, 255)),
    ],
)
def test_a_pictures_range_is_the_usual_one_nearest_to_it(
    low: float, high: float, expected: tuple[float, float]
) -> None:
    assert output_range(None, torch.tensor([low, high]), True, None)[0] == expected


@pytest.mark.parametrize(("high", "expected"), [(4e-3, 5e-3), (0.2, 1.0), (90.0, 255.0)])
def test_a_usual_range_of_which_hardly_any_is_used_is_not_the_outputs(high: float, expected: float) -> None:
    for usual in (None, (0.0, 255.0)):
        held, why, sure = output_range(None, torch.tensor([0.0, high]), True, usual)
        assert held == pytest.approx((0, expected))
        assert ("as the input" in why) == (usual is not None and expected == 255)
        assert not sure
    assert output_range(None, torch.tensor([-0.21, 0.25]), False, None)[0] == (-0.3, 0.3)
    assert output_range((0.0, 1.0), torch.tensor([0.0, high]), True, None)[0] == (0, 1)


def test_what_maps_of_classes_and_points_are_drawn_from_is_a_guess() -> None:
    class Both(nn.Module):
        def forward(self, segmap: Any, keypoints: Any) -> Any:
            return segmap[:, :3] * keypoints.mean((1, 2))[:, None, None, None]

    seen = examine(Both(), (Guess("segmap", "onehot", (4, 16, 16)), Guess("keypoints", "sequence", (5, 2))))
    assert seen.inputs[0].data["sample"] == {"kind": "one_hot"}
    assert "guess: a map of 4 classes" in seen.inputs[0].notes[0]
    assert seen.inputs[1].data["sample"] == {"kind": "uniform", "low": -1, "high": 1}
    assert all("savez_compressed" in entry.notes[1] for entry in seen.inputs)


def test_the_classes_are_those_that_a_label_tells_apart() -> None:
    class Chosen(nn.Module):
        def forward(self, z: Any, label: Any) -> Any:
            return torch.where(torch.arange(7)[None] == label[:, None], z, 0 * z)

    seen = examine(Chosen(), (Guess("z", "vector", (7,)), Guess("label", "label", (), classes=2)))
    assert seen.inputs[1].data["sample"] == {"kind": "labels", "classes": 7}


def test_outputs_by_name_are_all_taken_but_what_training_looks_at() -> None:
    class Molecules(nn.Module):
        def forward(self, z: Any) -> Any:
            return {"bonds": z[:, :, None] * z[:, None], "atoms": z.tanh(), "kl_loss": z * 0, "features": z}

    seen = examine(Molecules(), (Guess("z", "vector", (7,)),))
    assert [entry.path for entry in seen.outputs] == ["bonds", "atoms"]
    assert any("left out: kl_loss (7,), features (7,)" in note for note in seen.notes)
