"""The main job through the command line, with the real stages on a small model."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quick_latency import shorten
from safetensors import safe_open
from small_recipe import RECIPE, write_recipe

from edgegan.cli import main
from edgegan.evaluate import evaluation
from edgegan.evaluate.judge import SEED
from edgegan.runtime import Bundle, Generator
from edgegan.runtime.artifact import default_of

pytestmark = pytest.mark.slow

STAGES = ["01-prune", "02-distill", "03-quantize", "04-export"]
TIMED = ("seconds", "figures", "default", "samples.png")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def edgegan(*words: str | Path, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgegan", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        preexec_fn=_heed_signals,
        **more,
    )


def _heed_signals() -> None:
    """Take signals as a command in a terminal does; what runs in the background is to ignore some."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def compress(*words: str | Path) -> None:
    """Run the command in this process, with short measurements and as many threads as `ENVIRONMENT` gives."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        patch.setattr(evaluation, "SAMPLES_WITHOUT_QUALITY", 100)
        try:
            main(["compress", *map(str, words)])
        finally:
            torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run's folder, beside its recipe's, `small`."""
    folder = tmp_path_factory.mktemp("finished")
    write_recipe(folder / "small")
    with pytest.raises(SystemExit) as caught:
        compress(folder / "small", "--out", folder / "run")
    assert caught.value.code == 0
    return folder / "run"


def artifacts(run: Path) -> dict[str, Any]:
    """The checksums of all models and samples that a run made, and its records without their times.

    Nor with what speeds decide: the bundle's default, and whose samples the picture shows.
    """
    files = [
        *run.glob("stages/*/*.onnx"),
        *run.glob("stages/*/*.safetensors"),
        *run.glob("stages/*/structure.json"),
    ]
    files += [*run.glob("bundle/*.onnx"), *run.glob("stages/*/key.json"), *run.glob("samples/*.npz")]
    sums = {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    records = [*run.glob("stages/*/record.json"), *run.glob("bundle/manifest.json")]
    return {
        **sums,
        "result": json.loads((run / "figures.json").read_text())["result_sha256"],
        **{str(file.relative_to(run)): timeless(json.loads(file.read_text())) for file in records},
    }


def timeless(content: Any) -> Any:
    """What a record or a manifest holds but for times, and for the figures that have them."""
    if isinstance(content, dict):
        return {key: timeless(value) for key, value in content.items() if key not in TIMED}
    return [timeless(value) for value in content] if isinstance(content, list) else content


def test_a_run_leaves_everything(finished: Path) -> None:
    assert sorted(path.name for path in (finished / "stages").iterdir()) == STAGES
    for stage in STAGES:
        record = json.loads((finished / "stages" / stage / "record.json").read_text())
        assert record["stage"] == stage[3:]
    figures = json.loads((finished / "figures.json").read_text())
    assert [row["name"] for row in figures["rows"]] == ["full", "prune", "fp32", "fp16", "int8"]
    assert all(row["failed"] == {} for row in figures["rows"])
    assert figures["rows"][1]["macs"] <= 0.5 * figures["rows"][0]["macs"]
    assert (finished / "report.html").stat().st_size > 10_000
    run = json.loads((finished / "run.json").read_text())
    assert run["name"] == "small"
    assert run["profile"] == "quick"
    assert run["command"][:2] == ["edgegan", "compress"]


def test_the_bundle_is_what_was_measured(finished: Path) -> None:
    bundle = Bundle.open(finished / "bundle")
    rows = json.loads((finished / "figures.json").read_text())["rows"]
    speedups = {row["name"]: row["speedup"] for row in rows if row.get("speedup")}
    default = default_of(bundle.manifest.artifacts, platform.machine(), speedups)
    assert bundle.manifest.default_on == default
    assert [record["stage"] for record in bundle.manifest.lineage] == [
        "prune",
        "distill",
        "quantize",
        "export",
    ]
    assert bundle.manifest.figures["rows"] == json.loads((finished / "figures.json").read_text())["rows"]
    images = Generator.load(finished / "bundle")(n=64, seed=SEED)
    np.testing.assert_array_equal(images, np.load(finished / "samples" / f"{default.name}.npz")["images"])


def test_nothing_but_steps_and_results_is_printed_and_nothing_is_left_at_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    recipe = write_recipe(tmp_path / "small", RECIPE.replace("  - export: {}\n", ""))
    words = ["compress", str(recipe), "--out", str(tmp_path / "run"), "--until", "quantize"]
    ran = subprocess.run(
        [sys.executable, "-m", "edgegan", *words],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "HOME": str(home)},
        cwd=home,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    steps = [
        "loading",
        *(f"[{i}/4] {name}" for i, name in enumerate(("lint", "prune", "distill", "quantize"), 1)),
    ]
    assert [line.split(" ...")[0] for line in ran.stdout.splitlines() if line.endswith(" ...")] == steps
    assert list(home.rglob("*")) == []


def test_a_run_without_a_home(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "small", RECIPE.replace("  - export: {}\n", ""))
    words = ["compress", str(recipe), "--out", str(tmp_path / "run"), "--until", "quantize"]
    ran = subprocess.run(
        [sys.executable, "-m", "edgegan", *words],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "HOME": "/proc/1/x"},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_same_command_redoes_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = artifacts(finished)
    figures = json.loads((finished / "figures.json").read_text())
    with pytest.raises(SystemExit):
        compress(finished.parent / "small", "--out", finished)
    printed = capsys.readouterr().out
    assert printed.count("done before") == 4
    for words in ("after prune", "INT8", "full model", f"bundle: {finished / 'bundle'}", "report.html"):
        assert words in printed
    assert artifacts(finished) == before
    assert json.loads((finished / "figures.json").read_text())["rows"] == figures["rows"]


def test_the_result_as_json(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compress(finished.parent / "small", "--out", finished, "--json")
    result = json.loads(capsys.readouterr().out)
    assert result["stages"] == ["prune", "distill", "quantize", "export"]
    assert result["bundle"] == str(finished / "bundle")
    assert len(result["figures"]["rows"]) == 5


def test_a_bundle_is_inspected(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["inspect", str(finished / "bundle")])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    for words in (
        "takes   z: float32 (N, 8)",
        "model.int8.onnx",
        "(default)",
        "stage   distill: steps=6",
        "full model",
    ):
        assert words in printed


def left(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_in_use_and_the_recipes_own_are_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path / "faces")
    mine = ("samples/cat.png", "stages/act1/scene.txt", "bundle/app.js", "figures.json", "report.html")
    for name in (*mine, "src/.partial-work/thesis.tex", "recipe.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("my only copy")
    before = left(tmp_path)
    monkeypatch.chdir(tmp_path)
    for out, said in ((".", "which edgegan reads"), ("faces", "reads"), ("", "is empty"), ("src", "in use")):
        with pytest.raises(SystemExit) as caught:
            compress(recipe, "--out", out, "--until", "prune")
        assert caught.value.code == 2
        assert said in " ".join(capsys.readouterr().err.split())
        assert left(tmp_path) == before


def test_a_file_of_the_users_in_a_run_is_found_before_the_work(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "bundle" / "app.js").write_text("mine")
    with pytest.raises(SystemExit) as caught:
        compress(finished.parent / "small", "--out", tmp_path / "run")
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert "app.js" in printed.err
    assert "done before" not in printed.out


def test_a_run_begun_elsewhere_is_finished_here(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(finished.parent / "small"), "--out", str(tmp_path / "there")]
    with pytest.raises(SystemExit):
        compress(*words, "--until", "distill")
    assert capsys.readouterr().out.endswith(f"next: {shlex.join(['edgegan', 'compress', *words])}\n")
    assert not (tmp_path / "there" / "figures.json").exists()
    shutil.move(tmp_path / "there", tmp_path / "here")
    shutil.copytree(finished.parent / "small", tmp_path / "copy")
    with pytest.raises(SystemExit):
        compress(tmp_path / "copy", "--out", tmp_path / "here")
    assert artifacts(tmp_path / "here") == artifacts(finished)


def test_killed_at_any_moment_the_same_command_gives_the_same_bits(finished: Path, tmp_path: Path) -> None:
    words = ("compress", finished.parent / "small", "--out", tmp_path / "run", "--until", "export")
    rng, kills = random.Random(7), 0
    for stage in STAGES[:3]:
        process = edgegan(*words)
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "stages" / stage / "key.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 1.0))
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert kills >= 2
    with pytest.raises(SystemExit) as caught:
        compress(finished.parent / "small", "--out", tmp_path / "run")
    assert caught.value.code == 0
    assert artifacts(tmp_path / "run") == artifacts(finished)
    assert not list((tmp_path / "run").rglob(".partial-*"))


def end(process: subprocess.Popen[str], number: int) -> tuple[str, str]:
    """Send a signal, and again where an import of another package swallowed it; return what was printed."""
    for _ in range(5):
        process.send_signal(number)
        try:
            return process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    return process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_says_how_to_go_on_and_keeps_what_was_learnt(tmp_path: Path, number: int) -> None:
    recipe = write_recipe(tmp_path / "small", RECIPE.replace("steps: 8", "steps: 100000"))
    process = edgegan("compress", recipe, "--out", tmp_path / "run", "--profile", "full")
    stage = tmp_path / "run" / "stages" / "02-distill"
    while not (stage / "losses.csv").exists() and process.poll() is None:
        time.sleep(0.02)
    printed, errors = end(process, number)
    assert process.returncode == 128 + number, errors
    assert f"go on with:  edgegan compress {recipe} --out {tmp_path / 'run'} --profile full" in errors
    assert "distill: stopped after" in printed
    assert "Traceback" not in errors
    with safe_open(stage / "checkpoint.safetensors", "pt") as state:
        assert int(state.metadata()["step"]) >= 50


def test_two_processes_distil_and_the_first_one_writes(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    for stage in STAGES[1:]:
        shutil.rmtree(tmp_path / "run" / "stages" / stage)
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "edgegan",
    ]
    words = ["compress", str(finished.parent / "small"), "--out", str(tmp_path / "run"), "--until", "distill"]
    result = subprocess.run([*torchrun, *words], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run" / "stages" / "02-distill" / "record.json").read_text())
    assert record["proof"]["processes"] == 2
    assert result.stdout.count("[2/5] prune: done before") == 1
