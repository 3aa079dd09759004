"""How well the discriminator of recipes/mnist-semi-supervised tells digits, by its few labels.

    python bench/semi_supervised.py DATA TEST

DATA is the npz that it was trained on, TEST one with `test_images` and `test_labels` that it never saw.
Beside it the same network learns from the same labelled images alone. Writes both accuracies into the
recipe's README.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from readme import fill
from torch.nn import functional as F

from edgegan.compress.load import build_module, load_module
from edgegan.files import write_text
from edgegan.learning.algorithms.semi_supervised import labelled
from edgegan.recipe import Recipe
from edgegan.train.data import read_images

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes" / "mnist-semi-supervised"
STEPS = 300


def floats(images: NDArray[np.uint8]) -> torch.Tensor:
    """Return images (N, 28, 28) as the networks take them."""
    return torch.from_numpy(images.reshape(-1, 1, 28, 28)).float() / 127.5 - 1


def told(network: Any, images: torch.Tensor, labels: NDArray[Any]) -> str:
    """Return a network's accuracy with its 95% interval."""
    with torch.no_grad():
        found = torch.cat([network.eval().classify(part).argmax(1) for part in images.split(500)])
    share = float((found.numpy() == labels).mean())
    half = 1.96 * (share * (1 - share) / len(labels)) ** 0.5
    return f"{share:.1%} [{share - half:.1%}, {share + half:.1%}]"


def main(data: Path, test: Path) -> None:
    recipe = Recipe.read(RECIPE)
    assert recipe.discriminator is not None
    assert recipe.train is not None
    arrays = np.load(test)
    images, labels = floats(arrays["test_images"]), arrays["test_labels"]
    learnt = told(load_module(recipe.discriminator, recipe.folder), images, labels)
    real, count = read_images(data), int(recipe.train["labelled"])
    kept = labelled(real.labels, count, recipe.seed)
    few, classes = floats(real.images[kept]), torch.from_numpy(real.labels[kept])
    torch.manual_seed(recipe.seed)
    alone: Any = build_module(recipe.discriminator, recipe.folder).train()
    optimizer = torch.optim.Adam(alone.parameters(), 2e-4)
    for _ in range(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(alone.classify(few), classes).backward()
        optimizer.step()
    sentence = (
        f"On the {len(labels):,} test images the discriminator tells {learnt} of the digits, by {count}\n"
        f"labels; the same network, learning from these {count} images alone for {STEPS} steps,\n"
        f"{told(alone, images, labels)}."
    )
    text = (RECIPE / "README.md").read_text()
    write_text(RECIPE / "README.md", fill(text, "accuracy", f"\n{sentence}\n"))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
