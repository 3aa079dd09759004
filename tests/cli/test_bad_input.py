"""Bad input: each is refused with exit code 2 and a message that fits one screen and teaches."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_recipe import MODEL, RECIPE, weights
from torch import nn

from edgegan.cli import main


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """Run the command in this process and return what it printed on standard error."""
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    assert caught.value.code == 2
    return fits(capsys.readouterr().err)


def fits(message: str) -> str:
    lines = message.splitlines()
    assert lines
    assert lines[0].startswith("error: ")
    assert len(lines) <= 12
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("schema: 1", "schema: 1\nsede: 3", 2, ["unknown key 'sede'", "did you mean 'seed'"]),
        ("stages:", "stagez:", 7, ["unknown key 'stagez'", "did you mean 'stages'"]),
        ("checkpoint:", "checkpont:", 3, ["unknown key 'checkpont' in model"]),
        ("name: small", f"name: {'n' * 101}", 2, ["name"]),
        ("  full:", "  ../../full:", 12, ["a profile is named with"]),
        ("name: small", "name: small\nseed: true", 3, ["seed: must be a number, not True"]),
        ("name: small", f"name: small\nseed: {2**63}", 3, ["seed"]),
        ("steps: 6", "steps: '6'", 9, ["steps: must be a number, not '6'"]),
        ("align: 4", "aling: 4", 8, ["unknown key 'aling' in stages.0.prune", "did you mean 'align'"]),
        ("{distill: {steps: 8}}", "{distill: {stepz: 8}}", 0, ["did you mean 'steps'"]),
        ("  - quantize:", "  - quantise:", 10, ["no stage 'quantise'", "did you mean 'quantize'"]),
        ("shape: [8]", "shape: [0]", 4, ["positive"]),
        ("shape: [3, 16, 16]", "shape: [3, -16, 16]", 4, ["-16", "positive"]),
        ("steps: 6", "steps: 0", 9, ["steps", "greater than or equal to 1"]),
        ("batch: 4", "batch: -4", 9, ["batch", "greater than or equal to"]),
        ("macs: 0.5", "macs: -0.5", 8, ["macs", "greater than"]),
        ("macs: 0.5", "macs: many", 8, ["macs", "number"]),
        ("align: 4", "align: 0", 8, ["align", "greater than"]),
        ("teacher.safetensors", "teacher.pt", 3, ["model.checkpoint", "there is no file"]),
        ("{kind: normal}", "{kind: stored, file: ../z.npz}", 4, ["stored inputs need a file", "'../z.npz'"]),
        ("{kind: normal}", "{kind: stored, file: z.npz}", 5, ["sample.file", "there is no file"]),
    ],
)
def test_a_bad_recipe(
    small_recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    line: int,
    words: list[str],
) -> None:
    assert old in RECIPE
    (small_recipe / "recipe.yaml").write_text(RECIPE.replace(old, new, 1))
    profile = ["--profile", "full"] if "stepz" in new else []
    message = refused(capsys, "compress", small_recipe, "--out", tmp_path / "run", *profile)
    for word in words:
        assert word in message
    assert not line or f"recipe.yaml, line {line}" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [["--profile", "fulll"], ["--until", "distil"]])
def test_an_unknown_profile_or_stage(
    small_recipe: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert "did you mean" in refused(capsys, "compress", small_recipe, *words)


def test_a_recipe_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot read the recipe" in refused(capsys, "compress", tmp_path / "absent")


def wrong_shape(folder: Path) -> None:
    save_file(weights(12), folder / "teacher.safetensors")


def needs_pickle(folder: Path) -> None:
    torch.save(nn.Linear(2, 2), folder / "teacher.pt")
    (folder / "recipe.yaml").write_text(RECIPE.replace("teacher.safetensors", "teacher.pt"))


def not_a_number(folder: Path) -> None:
    broken = weights()
    broken["last.bias"][1] = float("nan")
    save_file(broken, folder / "teacher.safetensors")


def cannot_be_imported(folder: Path) -> None:
    (folder / "model.py").write_text("import no_such_package\n" + MODEL)


def wrong_output(folder: Path) -> None:
    (folder / "recipe.yaml").write_text(RECIPE.replace("[3, 16, 16]", "[3, 32, 32]"))


def other_stored_inputs(folder: Path) -> None:
    (folder / "recipe.yaml").write_text(RECIPE.replace("{kind: normal}", "{kind: stored, file: z.npz}"))
    np.savez(folder / "z.npz", z=np.zeros((4, 9), np.float32))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (wrong_shape, ["first.0.weight: the checkpoint has (8, 24, 4, 4), the module (8, 32, 4, 4)"]),
        (needs_pickle, ["needs pickle", "weights_only=False", "teacher.plain.pt"]),
        (not_a_number, ["'last.bias' holds NaN or infinity"]),
        (other_stored_inputs, ["'z' must have shape (M, 8), not (4, 9)", "z.npz"]),
        (cannot_be_imported, ["No module named 'no_such_package'", "model.py, line 1"]),
    ],
)
@pytest.mark.parametrize("verb", ["compress", "lint"])
def test_a_bad_model(
    small_recipe: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    words: list[str],
    verb: str,
) -> None:
    spoil(small_recipe)
    out = ["--out", tmp_path / "run"] if verb == "compress" else []
    message = refused(capfd, verb, small_recipe, *out)
    for word in words:
        assert word in message


def test_a_model_whose_output_is_not_the_contracts(
    small_recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong_output(small_recipe)
    message = refused(capfd, "compress", small_recipe, "--out", tmp_path / "run")
    for word in ("3, 16, 16)", "3, 32, 32)", "contract"):
        assert word in message


def test_a_folder_that_cannot_be_written(
    small_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    message = refused(capsys, "compress", small_recipe, "--out", tmp_path / "file" / "run")
    assert "cannot write: Not a directory" in message
    assert "--out" in message


@pytest.mark.skipif(
    not Path("/proc/version").exists(), reason="needs a file system that even root cannot write"
)
def test_no_write_permission(small_recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot write" in refused(capsys, "compress", small_recipe, "--out", "/proc/edgegan")


def test_two_processes_do_not_write_one_run(
    small_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import sys; from edgegan.owned import held\n"
    code += "with held(sys.argv[1], 'run'): print(1, flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout
    other.stdout.readline()
    message = refused(capsys, "compress", small_recipe, "--out", tmp_path / "run")
    other.communicate(b"\n")
    assert f"another process is writing this folder: process {other.pid}" in message


def test_a_disk_that_fills(small_recipe: Path, tmp_path: Path) -> None:
    """No file may grow past 8 KiB, as on a full disk; the file that lint tries is the first to be larger."""
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (8192, {resource.getrlimit(resource.RLIMIT_FSIZE)[1]}))\n"
        "from edgegan.cli import main\n"
        f"main(['compress', {str(small_recipe)!r}, '--out', {str(tmp_path / 'run')!r}, '--until', 'prune'])\n"
    )
    result = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    message = fits(result.stderr)
    assert "cannot write" in message
    assert "File too large" in message
    assert "model.onnx" in message
    assert "free some space" in message
    assert not (tmp_path / "run" / "stages" / "01-prune" / "record.json").exists()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "edgegan",
            "compress",
            small_recipe,
            "--out",
            tmp_path / "run",
            "--until",
            "prune",
        ],
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "run" / "stages" / "01-prune" / "record.json").exists()
