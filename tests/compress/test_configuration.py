"""Configurations as constructors take them: dataclasses, and mappings read by keys or attributes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from edgegan.compress.configuration import Configuration, configured


@dataclass
class Layers:
    width: int = 8


@dataclass
class Config:
    latent: int
    layers: Layers = field(default_factory=Layers)


class Declared:
    def __init__(self, config: Config | None, width: int = 3) -> None:
        self.config, self.width = config, width


def test_a_mapping_becomes_the_dataclass_that_is_declared() -> None:
    made = configured(Declared, {"config": {"latent": 5, "layers": {"width": 4}}, "width": 2})

    assert made == {"config": Config(5, Layers(4)), "width": 2}


def test_other_mappings_are_read_by_keys_and_attributes() -> None:
    def make(cfg: Any) -> None: ...

    cfg: Any = configured(make, {"cfg": {"model": {"latent": 5}, "stacks": [{"width": 4}]}})["cfg"]

    assert type(cfg).__mro__[1] is dict
    assert cfg["model"]["latent"] == cfg.model.latent == 5
    assert cfg.stacks[0].width == 4
    assert getattr(cfg, "absent", 7) == 7
    with pytest.raises(AttributeError, match="no 'depth'"):
        _ = Configuration(latent=5).depth
