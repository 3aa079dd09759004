"""Contracts of the zoo's image-to-image generators that draw from photographs."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgegan.runtime.contract import Contract, Sample

Pictures = Literal["monet", "set14"]
"""`monet`: 120 photographs of photo-monet-256, to calibrate on. `set14`: 14 pictures, to judge on."""

CROPS = 4
SHRINK = 4


def stored_contract(
    name: str, data: Path, folder: Path, size: int = 48, pictures: Pictures = "monet"
) -> Contract:
    """Write `<pictures>.npz` into `folder`, and return the contract of `zoo.<name>` that draws from it.

    The inputs are 4 crops of `size` x `size` (62 pixels at most) from each picture, at a quarter of its size,
    in the network's own range. The same arguments give the same crops.
    """
    contract: Contract = import_module(f"zoo.{name}").CONTRACT
    spec, output = contract.inputs[0], contract.outputs[0]
    folder.mkdir(parents=True, exist_ok=True)
    file = f"{pictures}.npz"
    np.savez_compressed(folder / file, **{spec.name: crops(data, size, pictures)})  # pyright: ignore
    sample = Sample("stored", spec.sample.low, spec.sample.high, file=file)
    larger = size * output.shape[1] // spec.shape[1]
    return Contract(
        (replace(spec, shape=(3, size, size), sample=sample),),
        (replace(output, shape=(3, larger, larger)),),
    ).with_stored(folder)


def crops(data: Path, size: int, pictures: Pictures) -> NDArray[np.uint8]:
    """Return crops (N, 3, size, size), those of one picture one after another."""
    rng = np.random.default_rng(0)
    small = [_shrunk(picture) for picture in (_monet(data) if pictures == "monet" else _set14(data))]
    cut = [_crop(picture, size, rng) for picture in small for _ in range(CROPS)]
    return np.stack(cut).transpose(0, 3, 1, 2)


def _monet(data: Path) -> Iterator[Image.Image]:
    with zipfile.ZipFile(data / "images/photo-monet-256.zip") as archive:
        for name in sorted(archive.namelist()):
            if name.startswith("testContent/") and not name.endswith("/"):
                yield Image.open(io.BytesIO(archive.read(name)))


def _set14(data: Path) -> Iterator[Image.Image]:
    for path in sorted((data / "images/sr/Set14/image_SRF_4").glob("*_HR.png")):
        yield Image.open(path)


def _shrunk(picture: Image.Image) -> NDArray[np.uint8]:
    width, height = picture.width // SHRINK, picture.height // SHRINK
    return np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))


def _crop(picture: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    top, left = (int(rng.integers(length - size + 1)) for length in picture.shape[:2])
    return picture[top : top + size, left : left + size]
