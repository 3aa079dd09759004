"""`edgegan generate` as a function of its arguments: what it writes, prints and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from edgegan.cli.generate import _labels, generate
from edgegan.errors import BundleError, InputError, StorageError
from edgegan.runtime import Bundle, Contract, Generator, write_bundle
from edgegan.runtime.contract import Input, Output, Sample

MODELS = Path(__file__).parents[1] / "runtime" / "models"
APP = typer.Typer()
APP.command()(generate)
INPUTS = (Input("z", (4,)), Input("label", (), "int64", Sample("labels", classes=10)))
IMAGE, CODE = Output("image", (3, 2, 4)), Output("code", (4,), layout="")


def bundle_of(folder: Path, model: str, *outputs: Output) -> Bundle:
    return write_bundle(
        folder,
        name=model,
        contract=Contract(INPUTS, outputs),
        models={"fp32": MODELS / f"{model}.onnx"},
        default="fp32",
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return bundle_of(tmp_path / "bundle", "labelled", IMAGE).folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(APP, [str(argument) for argument in arguments], catch_exceptions=False)


def test_a_png_holds_the_images_of_the_seed(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "made" / "grid.png"
    result = run(bundle, "--n", 5, "--seed", 7, "--label", 3, "--out", out)
    assert result.stdout.startswith(f"wrote 5 samples to {out} (onnxruntime ")
    with Image.open(out) as picture:
        grid = np.asarray(picture)
    with Generator.load(bundle) as generator:
        images = generator(n=5, seed=7, label=3)
    assert grid.shape == (2 * 2 + 2, 3 * 4 + 2 * 2, 3)
    np.testing.assert_array_equal(grid[:2, :4], images[0])
    np.testing.assert_array_equal(grid[4:, 6:10], images[4])
    assert (grid[4:, 12:] == 255).all()


def test_json_says_what_was_made(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "images.npy"
    made = json.loads(run(bundle, "--n", 2, "--out", out, "--json").stdout)
    assert made.pop("engine").startswith("onnxruntime ")
    assert 0 < made.pop("seconds") < 10
    assert made == {
        "out": str(out),
        "files": [str(out)],
        "n": 2,
        "seed": 0,
        "label": None,
        "outputs": {"image": {"shape": [2, 2, 4, 3], "dtype": "uint8"}},
        "engine_notes": [],
    }
    with Generator.load(bundle) as generator:
        np.testing.assert_array_equal(np.load(out), generator(n=2))


def test_an_npz_holds_all_outputs_by_name(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", "two_outputs", IMAGE, CODE).folder
    run(bundle, "--n", 3, "--out", tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz") as arrays:
        assert {name: (arrays[name].shape, arrays[name].dtype.name) for name in arrays.files} == {
            "image": ((3, 2, 4, 3), "uint8"),
            "code": ((3, 4), "float32"),
        }
    with pytest.raises(InputError, match=r"has 2 outputs\n.*\n.*FILE\.npz"):
        run(bundle, "--out", tmp_path / "all.npy")


def test_inputs_that_the_bundle_holds_are_drawn(tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", z=np.eye(4, dtype=np.float32))
    inputs = (Input("z", (4,), sample=Sample("stored", file="z.npz")), INPUTS[1])
    made = write_bundle(
        tmp_path / "bundle",
        name="stored",
        contract=Contract(inputs, (IMAGE,)).with_stored(tmp_path),
        models={"fp32": MODELS / "labelled.onnx"},
        default="fp32",
    )
    run(made.folder, "--n", 4, "--label", 3, "--out", tmp_path / "images.npy")
    with Generator.load(made.folder) as generator:
        expected = generator(z=np.eye(4, dtype=np.float32), label=3)
    known = {image.tobytes() for image in expected}
    assert {image.tobytes() for image in np.load(tmp_path / "images.npy")} == known


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--n", 0], "must be 1 or more, not 0"),
        (["--n", -4], "must be 1 or more, not -4"),
        (["--seed", -1], "seed must be 0 or more"),
        (["--label", 10], r"'label' must be in 0\.\.9"),
        (["--label", -1], r"'label' must be in 0\.\.9"),
        (["--out", "grid.jpeg"], "cannot write .jpeg"),
        (["--out", "grid"], "cannot write a file without a suffix"),
    ],
)
def test_what_cannot_be_asked_for(bundle: Path, tmp_path: Path, arguments: list[object], what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        run(bundle, "--out", tmp_path / "grid.png", *arguments)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "grid.png").exists()


def test_a_label_needs_one_label_input() -> None:
    unlabelled = Contract((INPUTS[0],), (IMAGE,))
    two = Contract((*INPUTS, Input("style", (), "int64", Sample("labels", classes=2))), (IMAGE,))
    with pytest.raises(InputError, match="this one has 0"):
        _labels(unlabelled, 3)
    with pytest.raises(InputError, match="this one has 2"):
        _labels(two, 3)


def test_a_damaged_bundle_is_the_users_to_replace(bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.fp32.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="was changed"):
        run(bundle, "--out", tmp_path / "grid.png")


def test_a_place_that_cannot_be_written(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        run(bundle, "--out", tmp_path / "file" / "grid.png")


def test_no_file_is_replaced_unasked(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "cat.png"
    out.write_text("my only copy")
    with pytest.raises(StorageError, match="there is a file of this name") as caught:
        run(bundle, "--out", out)
    assert out.read_text() == "my only copy"
    assert "--overwrite" in (caught.value.next or "")
    run(bundle, "--out", out, "--overwrite")
    assert out.read_bytes().startswith(b"\x89PNG")


def test_nothing_is_written_into_a_bundle(bundle: Path) -> None:
    with pytest.raises(InputError, match="nothing else"):
        run(bundle, "--out", bundle / "grid.png")
    Bundle.open(bundle)
