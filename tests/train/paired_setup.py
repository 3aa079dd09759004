"""Small trainings on pairs, of pictures and of sounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgegan.learning.devices import launch
from edgegan.measure.metrics import find
from edgegan.models.hifigan import Vocoder, VocoderDiscriminator
from edgegan.models.srresnet import SRResNet
from edgegan.models.unet import PatchDiscriminator, UNet
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.runtime.modality import Audio
from edgegan.train.paired import PairedTeacherTraining
from edgegan.train.pairs import Mel, PicturePairs, SoundPairs
from edgegan.train.settings import PairedTrainSettings

BASE = {
    "steps": 6,
    "batch": 4,
    "log_every": 1,
    "sample_every": 3,
    "score_every": 3,
    "held_out": 4,
    "stored": 5,
}
STORED = Sample("stored", low=-1, file="inputs.npz")
COLOUR = Contract((Input("grey", (1, 16, 16), sample=STORED),), (Output("image", (3, 16, 16)),))
NOISY = Contract((Input("noisy", (3, 16, 16), sample=STORED),), (Output("image", (3, 16, 16)),))
SOUND = Contract((Input("mel", (20, 5), sample=STORED),), (Output("wave", (1, 320), modality=Audio(8000)),))
MEL = Mel(kind="mel", size=128, hop=64, quietest=0.5)


def pictures(count: int, size: int = 16) -> torch.Tensor:
    """Smooth colour pictures, uint8 (count, 3, size, size)."""
    rng = np.random.default_rng(0)
    corners = torch.from_numpy(rng.random((count, 3, 3, 3), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(corners, (size, size), mode="bilinear", align_corners=True)
    return (smooth * 255).round().to(torch.uint8)


def waves(count: int, samples: int = 900) -> list[np.ndarray]:
    time = np.arange(samples) / 8000
    return [np.sin(2 * np.pi * (200 + 90 * index) * time).astype(np.float32) * 0.5 for index in range(count)]


LOOK = {"extractor": {"callable": "maps.py:maps", "checkpoint": "maps.pt"}, "painting": "painting.png"}


def extractor() -> nn.Module:
    """Maps at full and at half size, of pictures, with weights of a seed."""
    torch.manual_seed(1)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 4, 3, 2, 1)),
    )


def training(folder: Path, kind: str, **settings: Any) -> PairedTeacherTraining:
    torch.manual_seed(0)
    discriminator, metrics, given = None, [find("psnr_db")], dict[str, Any]()
    if kind == "sound":
        own: dict[str, Any] = {
            "pairs": MEL,
            "output": 0,
            "mel": 1,
            "stft": 1,
            "adversarial": 1,
            "perceptual": 1,
        }
        made = PairedTrainSettings.model_validate({**BASE, **own, **settings})
        generator, contract = Vocoder(20, 16, (8, 8), (3,), (1,)), SOUND
        discriminator = VocoderDiscriminator((2, 3), (1,), 4)
        pairs = SoundPairs(waves(3), MEL, SOUND, "cpu"), SoundPairs(waves(4)[3:], MEL, SOUND, "cpu")
    else:
        own = {"pairs": {"kind": "grey"}, "adversarial": 0.1, "perceptual": 0.1}
        if kind == "noisy":
            own = {"pairs": {"kind": "noise", "deviation": 0.2}}
        elif kind == "painted":
            own = {"pairs": {"kind": "same"}, "output": 0, "content": 1, "style": 1, "variation": 0.1, **LOOK}
            red = np.zeros((3, 20, 12), np.uint8)
            red[0] = 255
            given = {"extractor": extractor(), "painting": red}
        made = PairedTrainSettings.model_validate({**BASE, **own, **settings})
        contract = COLOUR if kind == "colour" else NOISY
        generator = UNet(1, 3, 4, 2, residual=True) if kind == "colour" else SRResNet(8, 1, 1)
        discriminator = PatchDiscriminator(3, 4) if kind == "colour" else None
        sides = ((pictures(40)[:32], True), (pictures(40)[32:], False))
        learnt, judged = (
            PicturePairs(each, made.pairs, contract, mirror=mirror)  # pyright: ignore[reportArgumentType]
            for each, mirror in sides
        )
        pairs = learnt, judged
    return PairedTeacherTraining(
        generator,
        discriminator,
        contract,
        pairs,
        made,
        folder,
        metrics=metrics,
        fabric=launch("auto"),
        **given,
    )
