"""`edgegan generate --input`: pictures in the place of samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer
from click.testing import Result
from onnx import TensorProto, helper
from PIL import Image
from typer.testing import CliRunner

from edgegan.cli.generate import generate
from edgegan.errors import DataError, InputError
from edgegan.runtime import Contract, write_bundle
from edgegan.runtime.contract import Input, Output, Sample

APP = typer.Typer()
APP.command()(generate)
HEIGHT, WIDTH = 4, 6


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose model gives the negative of a picture."""
    contract = Contract(
        (Input("photo", (3, HEIGHT, WIDTH), sample=Sample("uniform", 0.0, 1.0)),),
        (Output("image", (3, HEIGHT, WIDTH), (0.0, 1.0)),),
    )
    return negative(tmp_path, contract, HEIGHT, WIDTH)


@pytest.fixture
def free_bundle(tmp_path: Path) -> Path:
    """The same for pictures of any size up to 16, in multiples of 2."""
    size = {"nominal": 8, "min": 2, "max": 16, "multiple": 2, "halo": 0}
    contract = Contract.from_dict(
        {
            "sizes": {"H": size, "W": size},
            "inputs": [
                {"name": "photo", "shape": [3, "H", "W"], "sample": {"kind": "uniform", "low": 0, "high": 1}}
            ],
            "outputs": [{"name": "image", "shape": [3, "H", "W"], "range": [0, 1]}],
        }
    )
    return negative(tmp_path, contract, "H", "W")


def negative(tmp_path: Path, contract: Contract, height: int | str, width: int | str) -> Path:
    shape = ["N", 3, height, width]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("photo", "image")]
    one = helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])
    nodes = [helper.make_node("Sub", ["one", "photo"], ["image"])]
    graph = helper.make_graph(nodes, "negative", ports[:1], ports[1:], [one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "negative.onnx")
    return write_bundle(
        tmp_path / "bundle",
        name="negative",
        contract=contract,
        models={"fp32": tmp_path / "negative.onnx"},
        default="fp32",
    ).folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(APP, [str(argument) for argument in arguments], catch_exceptions=False)


def picture(path: Path, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (height, width, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def test_a_picture_becomes_a_picture(bundle: Path, tmp_path: Path) -> None:
    pixels = picture(tmp_path / "photo.png")
    words = (
        "--input",
        tmp_path / "photo.png",
        "--artifact",
        "fp32",
        "--threads",
        1,
        "--out",
        tmp_path / "out.png",
    )
    made = json.loads(run(bundle, *words, "--json").stdout)
    assert made["n"] == 1
    np.testing.assert_array_equal(pixels_of(tmp_path / "out.png"), 255 - pixels)


def test_a_folder_of_pictures_becomes_one_of_the_same_names(bundle: Path, tmp_path: Path) -> None:
    wanted = {name: picture(tmp_path / "in" / name) for name in ("a.png", "more/bc.png")}
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    run(bundle, "--input", tmp_path / "in", "--out", tmp_path / "made")
    assert {
        path.relative_to(tmp_path / "made").as_posix() for path in (tmp_path / "made").rglob("*.*")
    } == wanted.keys()
    for name, pixels in wanted.items():
        np.testing.assert_array_equal(pixels_of(tmp_path / "made" / name), 255 - pixels)


def test_another_size_is_resized_only_where_that_is_asked_for(bundle: Path, tmp_path: Path) -> None:
    picture(tmp_path / "photo.png", 9, 9)
    words = (bundle, "--input", tmp_path / "photo.png", "--out", tmp_path / "out.png")
    with pytest.raises(DataError, match=r"9 x 9, and the model takes 6 x 4\n.*\n.*--resize"):
        run(*words)
    assert not (tmp_path / "out.png").exists()
    run(*words, "--resize")
    assert pixels_of(tmp_path / "out.png").shape == (HEIGHT, WIDTH, 3)


def test_what_goes_wrong_is_told(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    for words, error, said in (
        (("--input", tmp_path / "photo.png"), DataError, "cannot be read"),
        (("--input", tmp_path / "empty"), DataError, "no pictures here"),
        (("--input", tmp_path / "photo.png", "--n", 3), InputError, "leave --n out"),
        (("--input", tmp_path / "photo.png", "--artifact", "int4"), InputError, "int4"),
    ):
        with pytest.raises(error, match=said):
            run(bundle, *words, "--out", tmp_path / "out.png")
    for name in ("x.png", "x.jpg"):
        picture(tmp_path / "twice" / name)
    with pytest.raises(InputError, match="suffix alone"):
        run(bundle, "--input", tmp_path / "twice", "--out", tmp_path / "made")


def test_pictures_of_any_size_become_pictures_of_theirs(free_bundle: Path, tmp_path: Path) -> None:
    photos = {name: picture(tmp_path / "in" / name, *size) for name, size in
              {"a.png": (5, 9), "bb.png": (16, 2), "ccc.png": (8, 8)}.items()}  # fmt: skip
    run(free_bundle, "--input", tmp_path / "in", "--out", tmp_path / "out")

    for name, pixels in photos.items():
        np.testing.assert_array_equal(pixels_of(tmp_path / "out" / name), 255 - pixels)


def test_a_picture_that_is_too_large_is_run_in_tiles(free_bundle: Path, tmp_path: Path) -> None:
    pixels = picture(tmp_path / "photo.png", 7, 41)
    with pytest.raises(InputError, match="W = 41") as refused:
        run(free_bundle, "--input", tmp_path / "photo.png", "--out", tmp_path / "out.png")
    assert "photo.png" in str(refused.value.where)
    assert "--tile" in str(refused.value.next)

    run(free_bundle, "--input", tmp_path / "photo.png", "--out", tmp_path / "out.png", "--tile", 4)
    np.testing.assert_array_equal(pixels_of(tmp_path / "out.png"), 255 - pixels)
