"""`edgegan train`, killed at random moments, and the same command again: one training of each kind."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

PROGRAM = (
    "from edgegan.learning import checkpoint; checkpoint.SECONDS = 0; from edgegan.cli import main; main()"
)
STEPS = 60
PICTURE = {"shape": [3, 16, 16], "range": [-1, 1]}
PATCHES = {"callable": "edgegan.models.unet:PatchDiscriminator", "arguments": {"width": 4, "levels": 2}}


def stored(name: str, *shape: int, low: float = -1, high: float = 1) -> dict[str, Any]:
    sample = {"kind": "stored", "file": "inputs.npz", "low": low, "high": high}
    return {"name": name, "shape": list(shape), "sample": sample}


def pictures(folder: Path, *kinds: str) -> Path:
    rng = np.random.default_rng(0)
    for kind in kinds:
        (folder / kind).mkdir(parents=True)
        for number in range(24):
            levels = rng.integers(0, 255, (16, 16, 3), np.uint8)
            Image.fromarray(levels).save(folder / kind / f"{number}.png")
    return folder


def sounds(folder: Path) -> Path:
    folder.mkdir()
    for number in range(3):
        levels = 9000 * np.sin(np.arange(1200) * (number + 1) / 9)
        with wave.open(str(folder / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(levels.astype("<i2").tobytes())
    return folder


def noise(data: Path) -> tuple[Path, Mapping[str, Any]]:
    widths = {"widths": [8, 8, 8], "latent": 6, "channels": 3, "first": 4}
    scored = {"widths": [4, 8], "channels": 3, "size": 16}
    return pictures(data, "one"), {
        "model": {"callable": "edgegan.models.dcgan:Generator", "arguments": widths},
        "discriminator": {"callable": "edgegan.models.dcgan:Discriminator", "arguments": scored},
        "inputs": [{"name": "z", "shape": [6], "sample": {"kind": "normal"}}],
        "output": PICTURE,
        "train": {"loss": "relativistic", "penalty_every": 4, "augment": "adaptive"},
    }


def unpaired(data: Path) -> tuple[Path, Mapping[str, Any]]:
    return pictures(data, "one", "two"), {
        "model": {"callable": "edgegan.models.cyclegan:Generator", "arguments": {"width": 4, "blocks": 1}},
        "discriminator": PATCHES,
        "inputs": [stored("photo", 3, 16, 16)],
        "output": PICTURE,
        "train": {"unpaired": {"inputs": "one", "outputs": "two"}},
    }


def paired(data: Path) -> tuple[Path, Mapping[str, Any]]:
    arguments = {"inputs": 1, "outputs": 3, "width": 4, "depth": 2}
    return pictures(data, "one"), {
        "model": {"callable": "edgegan.models.unet:UNet", "arguments": arguments},
        "discriminator": PATCHES,
        "inputs": [stored("edges", 1, 16, 16)],
        "output": PICTURE,
        "train": {"pairs": {"kind": "edges"}, "adversarial": 1, "output": 100},
    }


def sound(data: Path) -> tuple[Path, Mapping[str, Any]]:
    widths = {"bands": 20, "width": 8, "rates": [8, 8], "kernels": [3], "dilations": [1]}
    scored = {"periods": [2, 3], "pools": [1], "width": 4}
    output = {"shape": [1, 512], "range": [-1, 1], "modality": {"kind": "audio", "sample_rate": 8000}}
    weights = {"output": 0, "mel": 45, "adversarial": 1, "perceptual": 2}
    return sounds(data), {
        "model": {"callable": "edgegan.models.hifigan:Vocoder", "arguments": widths},
        "discriminator": {"callable": "edgegan.models.hifigan:VocoderDiscriminator", "arguments": scored},
        "inputs": [stored("mel", 20, 8, low=-12, high=3)],
        "output": output,
        "train": {"pairs": {"kind": "mel", "size": 128, "hop": 64}, **weights},
    }


def recipe(folder: Path, made: Mapping[str, Any]) -> Path:
    folder.mkdir()
    written = {
        "schema": 1,
        "name": "small",
        "model": {**made["model"], "checkpoint": "teacher.safetensors"},
        "discriminator": {**made["discriminator"], "checkpoint": "discriminator.safetensors"},
        "contract": {"inputs": made["inputs"], "outputs": [{"name": "made", **made["output"]}]},
        "stages": [{"export": {}}],
        "train": {"steps": STEPS, "batch": 4, "log_every": 7, "sample_every": 25, **made["train"]},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(written))
    return folder


def train(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, "train", *words], stdout=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [noise, unpaired, paired, sound], ids=lambda kind: kind.__name__)
def test_killed_at_random_moments_the_same_command_gives_the_same_weights(
    tmp_path: Path, kind: Callable[[Path], tuple[Path, Mapping[str, Any]]]
) -> None:
    data, made = kind(tmp_path / "data")
    given = [str(recipe(tmp_path / "small", made)), "--data", str(data), "--out"]
    assert train([*given, str(tmp_path / "whole")]).wait(300) == 0
    out, rng, kills = tmp_path / "broken", random.Random(kind.__name__), 0
    while kills < 2:
        process, deadline = train([*given, str(out)]), time.monotonic() + 120
        while not (out / "state.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        if kills:
            time.sleep(rng.uniform(2, 8))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills
    assert train([*given, str(out)]).wait(300) == 0
    for name in ("generator", "discriminator"):
        whole, broken = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("whole", "broken"))
        assert whole.keys() == broken.keys()
        assert all(torch.equal(whole[key], broken[key]) for key in whole)
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "broken")]
    assert logs[0] == logs[1]
