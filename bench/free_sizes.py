"""Networks whose sizes are free at sizes that nobody trained them at: whole, in tiles and in chunks.

    python bench/free_sizes.py [NAME ...] [--data FOLDER]

Writes bench/free_sizes.json and .md. Each network goes through `edgegan init`, export and quantize, and from
its bundle makes outputs at odd, oblong and large sizes, each in a process of its own, whose memory is noted.
Third-party networks, photographs and speech come from FOLDER, by default $EDGEGAN_SHARED or ../shared/data.
With names only these are made anew. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from int8_unseen_nets import Vocoder, lived_in, mels, speech
from made_with import ROOT
from numpy.typing import NDArray
from PIL import Image

from edgegan import Recipe, __version__, init_recipe
from edgegan.compress.export import Export
from edgegan.compress.load import load_module
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.receptive_field import with_halos
from edgegan.compress.stage import Candidate, Context
from edgegan.errors import InputError
from edgegan.files import write_json, write_text
from edgegan.measure.machine import machine
from edgegan.measure.memory import peak_rss_mib
from edgegan.runtime import Generator
from edgegan.runtime.bundle import write_bundle
from edgegan.runtime.contract import Contract, Sample

FILES = ("fp32", "int8")
SAMPLES = 32
"""Inputs that INT8 is calibrated on."""
PICTURES = Path("images", "sr", "Set14", "image_SRF_4")
PICTURE, CLIP = "img_005_SRF_4_HR.png", 500
"""The photograph that inputs of all sizes are made of, and how many frames of speech calibrate."""


@dataclass(frozen=True)
class Subject:
    """A network: where its class and weights are, what is real input to it, which sizes to try."""

    network: str
    weights: Callable[[Path, Path], Path]
    """Takes the data and a folder to write into."""
    real: Callable[[Path, dict[str, int]], NDArray[Any]]
    """Takes the data and a size; returns an input (1, ...) of that size."""
    sizes: tuple[dict[str, int], ...]
    tile: int
    """The size of a tile or a chunk."""
    arguments: dict[str, Any] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    default = Path(os.environ.get("EDGEGAN_SHARED", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(alone(**json.loads(given.alone))))
        return
    path = ROOT / "bench" / "free_sizes.json"
    rows = json.loads(path.read_text())["rows"] if path.is_file() else {}
    for name in given.names or NETWORKS:
        with TemporaryDirectory() as folder:
            rows[name] = go_through(NETWORKS[name], given.data, Path(folder))
        print(name, json.dumps(rows[name]), flush=True)
        content = {"protocol": {"edgegan": __version__, "machine": machine()}, "rows": rows}
        write_json(path, content)
        write_text(path.with_suffix(".md"), table(content))


def go_through(subject: Subject, data: Path, folder: Path) -> dict[str, Any]:
    """Bundle a network; return what is known of its sizes, and what came of each that is tried."""
    pictures = data / PICTURES if subject.real is photograph else None
    weights = subject.weights(data, folder)
    arguments = subject.arguments
    made = init_recipe(
        subject.network, weights, out=folder / "recipe", arguments=arguments, pictures=pictures
    )
    recipe = Recipe.read(made.folder)
    module = load_module(recipe.model, recipe.folder)
    contract = recipe.contract if pictures else _speech(recipe.contract, data, recipe.folder)
    candidate = Candidate(module, module, with_halos(module, contract))
    for stage in (Export(), Quantize(QuantizeSettings(targets=("x64-cpu",), samples=SAMPLES))):
        stage.requires(candidate)
        candidate = stage.run(candidate, Context(folder))
    write_bundle(
        folder / "bundle",
        name="free-sizes",
        contract=candidate.contract,
        models=candidate.artifacts,
        default="fp32",
    )
    return {
        "sizes": {size.name: size.to_dict() for size in candidate.contract.sizes},
        "int8_psnr_db": candidate.lineage[-1].proof["int8"]["psnr_db"],
        "tried": [attempt(subject, data, folder, size) for size in subject.sizes],
    }


def attempt(subject: Subject, data: Path, folder: Path, size: dict[str, int]) -> dict[str, Any]:
    """Return what came of one size with each file, whole and in tiles."""
    given = folder / "given.npy"
    np.save(given, subject.real(data, size))
    found: dict[str, Any] = {"size": size}
    for file in FILES:
        whole = apart(folder, given, file, None)
        tiled = apart(folder, given, file, subject.tile)
        outputs = [np.load(run.pop("out"), mmap_mode="r") for run in (whole, tiled) if "out" in run]
        if len(outputs) == 2:
            tiled |= gap(*outputs)
        found[file] = {"whole": whole, "tiled": tiled}
    return found


def apart(folder: Path, given: Path, file: str, tile: int | None) -> dict[str, Any]:
    """Run a file of the bundle on one input, in a process of its own."""
    out = folder / ("whole.npy" if tile is None else "tiled.npy")
    asked = {
        "bundle": str(folder / "bundle"), "given": str(given), "file": file, "tile": tile, "out": str(out)
    }  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, "--alone", json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:200]}
    return json.loads(done.stdout.splitlines()[-1])


def alone(bundle: str, given: str, file: str, tile: int | None, out: str) -> dict[str, Any]:
    """Run it, write what comes out; return the most memory that it took."""
    array = np.load(given)
    with Generator.load(bundle, precision=file, engine="onnxruntime") as generator:
        (spec,) = generator.contract.inputs
        try:
            if tile is not None and len(generator.contract.sizes) == 1:
                pieces = list(generator.chunks(tile, **{spec.name: array}))
                made = np.concatenate(pieces, axis=1)
            else:
                made = generator(**{spec.name: array}, tile=tile)
        except InputError as error:
            return {"failed": error.what}
    np.save(out, made)
    return {"gib": peak_rss_mib() / 1024, "shape": made.shape, "out": out}


def gap(whole: NDArray[Any], tiled: NDArray[Any]) -> dict[str, Any]:
    """Return the largest difference between two outputs, in levels, and the share of values that differ."""
    most, differ = 0, 0
    for start in range(0, whole.shape[1], 512):
        rows = slice(start, start + 512)
        off = np.abs(whole[:, rows].astype(np.int32) - tiled[:, rows])
        most, differ = max(most, int(off.max())), differ + int(np.count_nonzero(off))
    return {"levels": most, "differ": differ / whole.size}


def photograph(data: Path, size: dict[str, int]) -> NDArray[Any]:
    """Return a photograph, resized, uint8 (1, 3, H, W)."""
    with Image.open(data / PICTURES / PICTURE) as opened:
        picture = opened.convert("RGB").resize((size["W"], size["H"]), Image.Resampling.BICUBIC)
    return np.asarray(picture).transpose(2, 0, 1)[None]


def frames(data: Path, size: dict[str, int]) -> NDArray[Any]:
    """Return a log mel spectrogram (1, 80, T) of speech, repeated where T is longer than the clips."""
    whole = speech(data)
    length = size["T"]
    return np.tile(whole, (1, -(-length // whole.shape[1])))[None, :, :length]


def table(content: dict[str, Any]) -> str:
    """Return the page."""
    columns = ["network", "size", "file", "whole, GiB", "in tiles, GiB", "off, levels", "values that differ"]
    lines = [
        "# Free sizes",
        "",
        "Bundles made by `init`, export and quantize at sizes that nobody trained the networks at, whole and",
        "in tiles: the memory of each way, with Python and its libraries, and how far apart their encoded",
        "outputs are (of 255 levels of a picture, of 32,768 of sound). edgegan "
        f"{content['protocol']['edgegan']}, on {content['protocol']['machine'].get('cpu', 'this CPU')}.",
        "",
        f"| {' | '.join(columns)} |",
        f"| {' | '.join(['---'] * len(columns))} |",
    ]
    for name, row in content["rows"].items():
        for tried in row["tried"]:
            size = "x".join(map(str, tried["size"].values()))
            for file in FILES:
                whole, tiled = tried[file]["whole"], tried[file]["tiled"]
                cells = [_memory(whole), _memory(tiled)]
                cells += [str(tiled["levels"]), f"{tiled['differ']:.2%}"] if "levels" in tiled else ["", ""]
                lines.append(f"| {' | '.join([name, size, file, *cells])} |")
    return "\n".join(lines) + "\n"


def _memory(run: dict[str, Any]) -> str:
    return run["failed"] if "failed" in run else f"{run['gib']:.2f}"


def _speech(contract: Contract, data: Path, folder: Path) -> Contract:
    """Return the contract with speech in the place of noise, written into the recipe's folder."""
    (spec,) = contract.inputs
    length = contract.nominal["T"]
    whole = frames(data, {"T": CLIP})[0]
    starts = range(0, CLIP - length, max(1, (CLIP - length) // SAMPLES))
    windows: dict[str, Any] = {spec.name: np.stack([whole[:, at : at + length] for at in starts])}
    np.savez(folder / "speech.npz", **windows)
    return replace(contract, inputs=(replace(spec, sample=Sample("stored", file="speech.npz")),))


def _vocoder(data: Path, folder: Path) -> Path:
    path = folder / "vocoder.pt"
    torch.save(lived_in(Vocoder(64), torch.from_numpy(mels(data, 16))).state_dict(), path)
    return path


PHOTOGRAPHS = ({"H": 37, "W": 53}, {"H": 480, "W": 640}, {"H": 2160, "W": 3840})
NETWORKS = {
    "Real-ESRGAN, animevideov3, x4": Subject(
        f"{ROOT}/tests/zoo/realesr_video.py:Generator",
        lambda data, _: data / "generators/realesr_animevideov3/state_dict_fp32.pt",
        photograph, PHOTOGRAPHS, 256,
    ),
    "fast neural style, candy": Subject(
        f"{ROOT}/tests/zoo/candy.py:Generator",
        lambda data, _: data / "generators/fast_neural_style_candy/candy_state_dict_fp32.pt",
        photograph, PHOTOGRAPHS, 256,
    ),
    "HiFi-GAN, width 64": Subject(
        f"{ROOT}/bench/int8_unseen_nets.py:Vocoder", _vocoder, frames, ({"T": 37}, {"T": 500}, {"T": 4000}),
        128, {"width": 64},
    ),
}  # fmt: skip

if __name__ == "__main__":
    main()
