"""Recipes of networks that a configuration builds, and of others whose sizes stand in odd places."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import configured_networks
import pytest
import torch
from torch import nn

from edgegan import load_module
from edgegan.compress.configuration import configured
from edgegan.init.construct import construct
from edgegan.init.examine import examine
from edgegan.init.find_out import check_free, find_out, search_all
from edgegan.recipe import ModelSpec

SIDE = {"model": {"latent": 12, "side": 4}}


def mapped() -> nn.Module:
    torch.manual_seed(0)
    network = configured_networks.ByMapping
    return network(**configured(network, {"cfg": SIDE}))


@pytest.mark.parametrize(
    "kept",
    [
        {"hyper_parameters": {"lr": 0.1, "cfg": SIDE}},
        {"hyper_parameters": {"lr": 0.1, **SIDE}},
        {"cfg": SIDE, "epoch": 3},
        {"model": {"latent": 3, "side": 4}, "config": SIDE},
        {"args": argparse.Namespace(steps=3, **SIDE)},
    ],
)
def test_a_configuration_is_that_of_the_training(kept: dict[str, Any]) -> None:
    content = {
        **kept,
        "state_dict": {f"net_g.{name}": value for name, value in mapped().state_dict().items()},
    }

    found = construct(configured_networks.ByMapping, content, {}, "ByMapping")

    assert found.arguments["cfg"]["model"] == SIDE["model"]
    assert "settings of the training" in found.why["cfg"]


@pytest.mark.parametrize("beside", [True, False])
def test_a_dataclass_is_made_of_what_was_kept(beside: bool, tmp_path: Path) -> None:
    config = {"z_dim": 10, "channels": 4} if beside else {"z_dim": 64, "channels": 32}
    (tmp_path / "nets.py").write_text(Path(configured_networks.__file__).read_text())
    network = configured_networks.ByDataclass(configured_networks.Config(**config))
    torch.save(network.state_dict(), tmp_path / "g.pt")
    if beside:
        (tmp_path / "config.json").write_text(json.dumps({"_class_name": "ByDataclass", **config}))

    file, checkpoint = tmp_path / "nets.py", tmp_path / "g.pt"
    found = find_out(file, "ByDataclass", checkpoint, {})

    arguments = found["model"]["arguments"]
    assert arguments == {"config": config if beside else {}}
    assert found["inputs"][0]["data"]["shape"] == [config["z_dim"]]
    spec = ModelSpec(callable="nets.py:ByDataclass", checkpoint="g.pt", arguments=arguments)
    z = torch.randn(3, config["z_dim"])
    torch.testing.assert_close(load_module(spec, tmp_path)(z), network.eval()(z))


@pytest.mark.parametrize(
    ("name", "inputs", "output"), [("Styles", (6, 28), (3, 4, 4)), ("Located", (8, 16), (20, 16))]
)
def test_sizes_in_odd_places_are_found(name: str, inputs: tuple[int, ...], output: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = getattr(configured_networks, name)().eval()

    found = search_all(module).inputs

    assert found is not None
    assert found[0].shape == inputs
    assert module(torch.randn(2, *inputs)).shape == (2, *output)


def test_code_that_pads_where_halves_do_not_meet_takes_the_sizes_where_they_do() -> None:
    module = configured_networks.Fitted().eval()
    inputs = search_all(module).inputs
    assert inputs is not None
    seen = examine(module, inputs)
    assert "multiple" not in seen.sizes["H"]

    check_free(seen, module)

    assert [(size["multiple"], size["min"] % 2) for size in seen.sizes.values()] == [(2, 0), (2, 0)]
