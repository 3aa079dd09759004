"""A small teacher, student and discriminator; run as a program, it distils them into a folder."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

import torch
from safetensors.torch import save_file

from edgegan.compress.distill import Distill, DistillSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.learning import checkpoint
from edgegan.models.resnet import Generator, ProjectionDiscriminator
from edgegan.runtime.contract import Contract, Input, Output, Sample

SETTINGS = {
    "steps": 10,
    "batch": 8,
    "learning_rate": 1e-3,
    "discriminator_steps": 2,
}


def small_candidate(*, discriminator: bool = True) -> Candidate:
    contract = Contract(
        (Input("z", (8,)), Input("label", (), "int64", Sample("labels", classes=3))),
        (Output("image", (3, 16, 16)),),
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        teacher = Generator((16, 12, 8), latent=8, classes=3).eval()
        student = Generator((8, 8, 4), latent=8, classes=3).eval()
        critic = ProjectionDiscriminator(8, classes=3, blocks=2).eval()
    return Candidate(student, teacher, contract, critic if discriminator else None)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kill-at", type=int)
    arguments = parser.parse_args()

    def progress(done: int, _total: int) -> None:
        if done == arguments.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    checkpoint.SECONDS = 0.0
    stage = Distill(DistillSettings.model_validate(SETTINGS))
    result = stage.run(small_candidate(), Context(arguments.folder, seed=3, progress=progress))
    if int(os.environ.get("RANK", "0")) == 0:
        weights = {name: value.clone() for name, value in result.student.state_dict().items()}
        save_file(weights, arguments.folder / "student.safetensors")


if __name__ == "__main__":
    main()
