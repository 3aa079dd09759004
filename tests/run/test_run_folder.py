from __future__ import annotations

import json

import numpy as np
import pytest

from edgegan.errors import UserError
from edgegan.run.folder import read_run


def test_reads_all_parts(run_folder):
    run = read_run(run_folder)
    assert run.name == "cifar10"
    assert run.run.shell_command == "edgegan compress recipes/cifar10 --profile full"
    assert [stage.folder for stage in run.stages] == ["01-prune", "02-distill", "03-quantize", "04-export"]
    assert list(run.samples) == ["full", "prune", "fp32", "fp16", "int8"]
    assert run.samples["full"].shape == (64, 32, 32, 3)
    assert len(run.stages[1].losses["step"]) == 1000
    assert set(run.stages[1].losses) == {"step", "output", "features", "adversarial"}
    assert run.gaps == {}
    assert run.shipped is None


def test_the_bundle_says_what_ships(run_folder):
    (run_folder / "bundle").mkdir()
    (run_folder / "bundle" / "manifest.json").write_text('{"default": "int8"}')
    assert read_run(run_folder).shipped == "int8"


def test_no_such_folder(tmp_path):
    with pytest.raises(UserError, match="no such run folder") as caught:
        read_run(tmp_path / "nowhere")
    assert caught.value.where == str(tmp_path / "nowhere")


def test_not_a_run_folder(tmp_path):
    with pytest.raises(UserError, match=r"no run\.json"):
        read_run(tmp_path)


def test_an_unfinished_run_names_what_is_done_and_the_command_that_goes_on(run_folder):
    (run_folder / "figures.json").unlink()
    (run_folder / "stages" / "02-distill" / "record.json").unlink()
    with pytest.raises(UserError, match="finished stages: 01-prune, 03-quantize, 04-export") as caught:
        read_run(run_folder)
    assert (
        caught.value.next
        == "give the edgegan compress command that began it again: it goes on where it stopped"
    )


@pytest.mark.parametrize(
    "command",
    [("sh", "-c", "x"), ("edgegan", "compres"), ()],
)
def test_no_command_but_our_own_is_handed_on(folder_of, command):
    run = folder_of(command=command)
    assert read_run(run).run.shell_command is None
    (run / "figures.json").unlink()
    with pytest.raises(UserError) as caught:
        read_run(run)
    assert "x" not in str(caught.value.next).split()


def test_the_words_of_a_command_are_quoted(folder_of):
    run = folder_of(command=("edgegan", "compress", "$(touch /tmp/p)", "--out", "a b"))
    assert read_run(run).run.shell_command == "edgegan compress '$(touch /tmp/p)' --out 'a b'"


def test_a_run_that_has_only_begun(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match="no stage has finished"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("run.json", "{", "cannot read run.json"),
        ("figures.json", '{"rows": [{"macs": NaN}]}', "NaN is not JSON"),
        ("figures.json", '{"rows": []}', "rows has no entries"),
        ("figures.json", "[1]", "the file must be an object, not a list"),
        ("stages/01-prune/record.json", "nonsense", "cannot read record.json"),
    ],
)
def test_a_damaged_file_is_named(run_folder, name, content, what):
    (run_folder / name).write_text(content)
    with pytest.raises(UserError, match=what) as caught:
        read_run(run_folder)
    assert caught.value.where == str(run_folder / name)


def test_a_share_that_is_a_text_is_named(run_folder):
    file = run_folder / "stages" / "03-quantize" / "record.json"
    record = json.loads(file.read_text())
    record["proof"]["int8"]["int8_macs_share"] = "0.97"
    file.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"proof\.int8\.int8_macs_share must be .*, not text"):
        read_run(run_folder)


def test_gaps_are_named(run_folder):
    (run_folder / "lint.json").unlink()
    (run_folder / "samples" / "int8.npz").unlink()
    (run_folder / "samples" / "fp16.npz").write_bytes(b"PK no archive")
    np.savez(run_folder / "samples" / "fp32.npz", images=np.zeros((2, 4, 4, 3), np.float32))
    run = read_run(run_folder)
    assert run.lint is None
    assert run.gaps == {
        "lint": "the run folder has no lint.json",
        "samples/fp32": "samples/fp32.npz holds no uint8 images (N, H, W, 1 or 3)",
        "samples/fp16": "samples/fp16.npz holds no uint8 images (N, H, W, 1 or 3)",
        "samples/int8": "no samples/int8.npz in the run folder",
    }


def test_losses_as_jsonl(run_folder):
    folder = run_folder / "stages" / "02-distill"
    (folder / "losses.csv").unlink()
    rows = [{"step": 10 * i, "output": 1 / (i + 1), "note": "x"} for i in range(3)]
    (folder / "losses.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_run(run_folder).stages[1].losses == {"step": [0, 10, 20], "output": [1, 1 / 2, 1 / 3]}


@pytest.mark.parametrize("content", ["", "step,output\n1,0.5\n", "step\n1\n2\n"])
def test_too_little_for_a_curve(run_folder, content):
    (run_folder / "stages" / "02-distill" / "losses.csv").write_text(content)
    assert read_run(run_folder).stages[1].losses is None
