"""The plain MLP GAN of digits, by csinva (MIT)."""

from pathlib import Path

import torch
from torch import nn

from edgegan.runtime.contract import Contract, Input, Output

CHECKPOINT = "generators/mnist_mlp_csinva/G--300.ckpt"
CONTRACT = Contract((Input("z", (64,)),), (Output("digits", (784,), layout=""),))


def generator() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 784), nn.Tanh()
    )


def load(data: Path) -> nn.Module:
    module = generator()
    module.load_state_dict(torch.load(data / CHECKPOINT, weights_only=True, map_location="cpu"))
    return module.eval()
