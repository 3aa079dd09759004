"""From a class and a checkpoint to a recipe that lint and compress take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import odd_networks
import pytest
import torch
from PIL import Image

from edgegan import Finding, Recipe, init_recipe, load_module, store_pictures
from edgegan.cli import main
from edgegan.cli.inspect_recipe import findings as inspected
from edgegan.errors import CheckpointError, DataError, InputError, ModelError, StorageError
from edgegan.init.first_stages import fitting

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder: code in a package of two files, and the checkpoint of a whole training."""
    code = tmp_path / "project"
    code.mkdir()
    source = Path(odd_networks.__file__).read_text()
    (code / "parts.py").write_text(source)
    (code / "nets.py").write_text(
        "from parts import BigLike, DcganArgs, Inpaint\n\n\n"
        "def build():\n    return DcganArgs(20, 8, 3)\n\n\n"
        "def crash():\n    import os\n    print('noise')\n    os._exit(3)\n\n\n"
        "class Picky(DcganArgs):\n    def __init__(self):\n        super().__init__(20, 8, 3)\n\n"
        "    def forward(self, input):\n        raise ValueError('only on Tuesdays')\n"
    )
    torch.manual_seed(0)
    training = {
        "step": 7,
        "generator": odd_networks.DcganArgs(20, 8, 3).state_dict(),
        "generator_ema": odd_networks.DcganArgs(20, 8, 3).state_dict(),
    }
    torch.save(training, code / "g.pt")
    torch.save(odd_networks.Inpaint().state_dict(), code / "inpaint.pt")
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(code / "script.pt"))  # pyright: ignore
    return code


def test_the_recipe_needs_nothing_more(project: Path, tmp_path: Path) -> None:
    made = init_recipe(f"{project}/nets.py:DcganArgs", project / "g.pt", out=tmp_path / "faces")
    recipe = Recipe.read(made.folder)
    assert sorted(path.name for path in made.folder.iterdir()) == ["recipe.yaml"]
    assert recipe.model.callable == "../project/nets.py:DcganArgs"
    assert recipe.model.checkpoint == "../project/g.pt"
    assert recipe.model.arguments == {"nz": 20, "ngf": 8, "nc": 3}
    assert [stage.name for stage in recipe.stages] == ["prune", "distill", "quantize", "export"]
    module = load_module(recipe.model, recipe.folder)
    averaged = torch.load(project / "g.pt", weights_only=True)["generator_ema"]
    assert torch.equal(module.state_dict()["main.0.weight"], averaged["main.0.weight"])
    assert not any(finding.level == "error" for finding in made.findings)
    assert any("standard normal" in guess for guess in made.guesses)
    assert "# guess: standard normal" in (made.folder / "recipe.yaml").read_text()
    assert inspected(made.folder)["code"] == ["../project/nets.py"]


def test_a_folder_in_use_is_left_alone(project: Path, tmp_path: Path) -> None:
    for out in (project, tmp_path):
        before = {path: path.stat().st_mtime for path in tmp_path.rglob("*")}
        with pytest.raises(StorageError):
            init_recipe(f"{project}/nets.py:build", project / "g.pt", out=out)
        assert {path: path.stat().st_mtime for path in tmp_path.rglob("*")} == before


def test_made_up_pictures_stand_in_until_real_ones_come(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "hole"
    with pytest.raises(SystemExit) as ended:
        main(["init", f"{project}/nets.py:Inpaint", str(project / "inpaint.pt"), "--out", str(out), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert ended.value.code in (0, None)
    assert said["next"] == f"edgegan compress {out}"
    assert any("made-up pictures" in note for note in said["notes"])
    with np.load(out / "inputs.npz") as held:
        assert held["image"].shape[1:] == (3, 64, 64)
        assert set(np.unique(held["mask"])) == {0, 255}

    rng = np.random.default_rng(0)
    for name in ("image", "mask"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(3):
            pixels = rng.integers(0, 256, (40 + index, 90, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    with pytest.raises(DataError, match="no folder for 'image'"):
        store_pictures(out, tmp_path / "photos" / "image")
    store_pictures(out, tmp_path / "photos")
    contract = Recipe.read(out).contract
    assert contract.distinct() == 3
    assert contract.sample(3, 0)["mask"].shape == (3, 1, 64, 64)
    with pytest.raises(StorageError, match="inputs in this file already"):
        store_pictures(out, tmp_path / "photos")
    (out / "inputs.npz").unlink()
    (tmp_path / "photos/mask/2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be read"):
        store_pictures(out, tmp_path / "photos")


@pytest.mark.parametrize(
    ("network", "checkpoint", "error", "text"),
    [
        ("script.pt", "g.pt", InputError, "TorchScript.*\n.*\n.*name the Python class"),
        ("nets.py", "g.pt", InputError, "named by its file and its class"),
        ("parts.py", "g.pt", InputError, "it defines: DcganArgs"),
        ("nets.py:Gone", "g.pt", ModelError, "no 'Gone'"),
        ("nets.py:crash", "g.pt", ModelError, "its process died"),
        (
            "nets.py:Picky",
            "g.pt",
            ModelError,
            r"of \d+ that were tried in up to 80 s.*likeliest, input \(20,\): ValueError: only on Tuesdays",
        ),
        ("nets.py:BigLike", "g.pt", CheckpointError, "does not fit"),
        ("nets.py:build", "script.pt", CheckpointError, "does not fit"),
        ("nets.py:build", "none.pt", CheckpointError, "missing"),
    ],
)
def test_what_cannot_be_used_is_refused(
    project: Path, tmp_path: Path, network: str, checkpoint: str, error: Any, text: str
) -> None:
    with pytest.raises(error, match=text):
        init_recipe(f"{project}/{network}", project / checkpoint, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_arguments_are_values_of_yaml(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["init", f"{project}/nets.py:DcganArgs", str(project / "g.pt"), "--out", str(tmp_path / "x")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--arg", "nz=21", "--arg", "nc=3", "--json"])
    assert ended.value.code == 2
    assert "does not fit" in json.loads(capsys.readouterr().out)["error"]["what"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--arg", "nz"])
    assert "NAME=VALUE" in capsys.readouterr().err


def test_noise_in_forward_needs_no_edit(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "styled.py").write_text("from parts import Style\n")
    torch.save(odd_networks.Style().state_dict(), project / "style.pt")
    monkeypatch.chdir(tmp_path)
    made = init_recipe("project/styled.py:Style", "project/style.pt")
    assert Recipe.read(made.folder).model.noise == "fixed"
    assert not any(finding.level == "error" for finding in made.findings)
    assert any("noise: fixed" in guess for guess in made.guesses)


def test_stages_are_left_out_where_that_mends_it_and_hidden_errors_are_told() -> None:
    def said(*errors: str) -> list[Finding]:
        return [Finding("error", "", text, "why", "") for text in errors]

    def mended(without: Sequence[str]) -> list[Finding]:
        return [] if "prune" in without else said("no pruning")

    def hopeless(without: Sequence[str]) -> list[Finding]:
        return said("no export") if "prune" in without else said("no pruning")

    assert fitting(mended) == ([], {"prune": "no pruning: why"})
    findings, left_out = fitting(hopeless)
    assert [finding.what for finding in findings] == ["no export", "no pruning"]
    assert left_out == {}
