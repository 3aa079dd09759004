"""A GAN of small squares that collapses where its rates are too high."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgegan.learning.devices import launch
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.train.samples import Samples
from edgegan.train.settings import TrainSettings
from edgegan.train.teacher import TeacherTraining

CONTRACT = Contract((Input("z", (8,)),), (Output("image", (1, 8, 8)),))
COLLAPSES = {"generator_rate": 2e-2, "discriminator_rate": 1e-3}


def squares(count: int = 512) -> Samples:
    """A white square of 3x3 anywhere on black of 8x8."""
    rng = np.random.default_rng(0)
    images = np.zeros((count, 1, 8, 8), np.uint8)
    for image, (row, column) in zip(images, rng.integers(0, 6, (count, 2))):
        image[0, row : row + 3, column : column + 3] = 255
    return Samples(images, np.zeros(count, np.int64), ("square",))


def networks() -> tuple[nn.Module, nn.Module]:
    generator = nn.Sequential(
        nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh()
    )
    discriminator = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2)
    )
    return (
        generator.append(nn.Unflatten(1, (1, 8, 8))),
        discriminator.append(nn.Linear(64, 1)).append(nn.Flatten(0)),
    )


def training(folder: Path, seed: int, **settings: Any) -> TeacherTraining:
    torch.manual_seed(seed)
    own: dict[str, Any] = {"batch": 32, "log_every": 10, "augment": False, "flip": False, "ema": 0.9}
    made = TrainSettings.model_validate({**own, "steps": 390, "discriminator_steps": 1, **settings})
    return TeacherTraining(
        *networks(),
        CONTRACT,
        squares(),
        made,
        folder,
        seed=seed,
        fabric=launch("fp32"),
    )
