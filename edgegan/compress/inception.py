"""The feature extractor that a recipe names: its own ONNX file, or the standard Inception.

The Inception is NVIDIA's TorchScript conversion of the network of 2015 that FID was defined with (Heusel et
al. 2017, arXiv:1706.08500); StyleGAN3 and clean-fid use the same file.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgegan.errors import DataError
from edgegan.files import sha256
from edgegan.measure.features import Extractor, OnnxExtractor
from edgegan.recipe import INCEPTION, Recipe

FILE = "inception-2015-12-05.pt"
SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
SOURCE = f"https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/{FILE}"
BATCH = 32


def extractor_of(recipe: Recipe, *, threads: int | None = None) -> Extractor | None:
    """Return the recipe's extractor, or None where it names none.

    Raises:
        DataError: the file is absent, or not what it should be.
    """
    if recipe.quality is None or recipe.quality.features is None:
        return None
    if recipe.quality.features == INCEPTION:
        return InceptionExtractor(cache_folder() / FILE)
    path = recipe.path(recipe.quality.features)
    return InceptionExtractor(path) if path.suffix == ".pt" else OnnxExtractor(path, threads=threads)


def cache_folder() -> Path:
    """Return the folder that large public files are looked up in: `$XDG_CACHE_HOME/edgegan`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgegan"


class InceptionExtractor:
    """The standard Inception: 2048 features of the last pooling layer.

    Images of any size, grey or colour; the network itself resizes them, to 299x299, as the original does.

    Args:
        path: the file `inception-2015-12-05.pt`.

    Raises:
        DataError: the file is absent, or its SHA-256 is not the one that it should have.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise DataError(
                "the standard Inception is not in the cache folder",
                where=str(path),
                next=f"fetch it once: curl --create-dirs -o {path} {SOURCE}\n"
                "         or name an extractor of your own data: edgegan train-features DATA",
            )
        self.sha256 = sha256(path)
        if self.sha256 != SHA256:
            raise DataError(
                f"this is not the standard Inception: its SHA-256 begins {self.sha256[:8]}, not {SHA256[:8]}",
                where=str(path),
                next=f"fetch it again from {SOURCE}",
            )
        self.name = f"{path.name} {self.sha256[:8]}"
        with warnings.catch_warnings():
            # NVIDIA publishes the network as TorchScript only, which torch has deprecated.
            warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated", DeprecationWarning)
            self._network: Any = torch.jit.load(path, map_location="cpu").eval()

    @torch.no_grad()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features (N, 2048) of uint8 NHWC images with 1 or 3 channels."""
        tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
        parts = [
            self._network(batch.expand(-1, 3, -1, -1), return_features=True) for batch in tensor.split(BATCH)
        ]
        return torch.cat(parts).numpy().astype(np.float32)
