"""A small training of a teacher; run as a program, it trains into a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from edgegan.learning.devices import launch
from edgegan.models.resnet import Generator, ProjectionDiscriminator
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.train.samples import Samples
from edgegan.train.settings import TrainSettings
from edgegan.train.teacher import TeacherTraining

CONTRACT = Contract(
    (Input("z", (8,)), Input("label", (), "int64", Sample("labels", classes=2))),
    (Output("image", (3, 8, 8)),),
)
SETTINGS = TrainSettings(steps=6, batch=8, log_every=1, sample_every=3)


def plain(*reds: int) -> Samples:
    """64 images of 8x8, as red as their class's number and else black."""
    labels = np.arange(64) % len(reds)
    images = np.zeros((64, 3, 8, 8), np.uint8)
    images[:, 0] = np.array(reds, np.uint8)[labels][:, None, None]
    return Samples(images, labels, tuple(f"class {index}" for index in range(len(reds))))


def training(
    folder: Path, settings: TrainSettings = SETTINGS, data: Samples | None = None
) -> TeacherTraining:
    torch.manual_seed(0)
    return TeacherTraining(
        Generator((16, 16), latent=8, classes=2),
        ProjectionDiscriminator(16, classes=2, blocks=2, downs=1),
        CONTRACT,
        data or plain(0, 255),
        settings,
        folder,
        fabric=launch("auto"),
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    training(Path(sys.argv[1])).run()
