"""Modules from a recipe: what is loaded, and what each mistake is told."""

from __future__ import annotations

import argparse
import pickle
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgegan.compress.load import build_module, load_module
from edgegan.errors import CheckpointError, ModelError
from edgegan.recipe import ModelSpec

SOURCE = """
from torch import nn
from layers import block

class Generator(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.body = block(2, width)
        self.norm = nn.BatchNorm1d(width)
    def forward(self, z):
        return self.norm(self.body(z))

def make(width):
    return Generator(width)

def fail():
    raise RuntimeError("no such luck")

def wrong():
    return 3

answer = 42
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(SOURCE)
    (tmp_path / "layers.py").write_text("from torch import nn\nblock = nn.Linear\n")
    save_file(state(), tmp_path / "weights.safetensors")
    return tmp_path


def state(width: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    norm = {f"norm.{name}": torch.rand(width, generator=generator) for name in ("weight", "bias")}
    running = {f"norm.running_{name}": torch.rand(width, generator=generator) for name in ("mean", "var")}
    body = {"body.weight": torch.rand(width, 2, generator=generator), "body.bias": torch.zeros(width)}
    return {**body, **norm, **running, "norm.num_batches_tracked": torch.tensor(7)}


def spec(
    callable: str = "model.py:Generator", checkpoint: str = "weights.safetensors", **more: Any
) -> ModelSpec:
    return ModelSpec(callable=callable, checkpoint=checkpoint, **more)


def test_the_module_has_the_checkpoints_weights_and_is_frozen(folder: Path) -> None:
    module = load_module(spec(), folder)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    for name, value in state().items():
        torch.testing.assert_close(module.state_dict()[name], value, rtol=0, atol=0)


def test_a_function_and_its_arguments_will_do(folder: Path) -> None:
    save_file(state(6), folder / "six.safetensors")
    module = load_module(spec("model.py:make", "six.safetensors", arguments={"width": 6}), folder)
    assert module.state_dict()["body.weight"].shape == (6, 2)


def test_a_package_will_do(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "linear.pt")
    arguments = {"in_features": 2, "out_features": 3}
    assert isinstance(
        load_module(spec("torch.nn:Linear", "linear.pt", arguments=arguments), tmp_path), nn.Linear
    )


def test_a_checkpoint_with_key_prefix_and_half_precision(folder: Path) -> None:
    content = {"epoch": 3, "ema": {f"module.{name}": value.half() for name, value in state().items()}}
    torch.save(content, folder / "run.pt")
    module = load_module(spec(checkpoint="run.pt", key="ema", prefix="module."), folder)
    assert module.state_dict()["body.weight"].dtype == torch.float32
    torch.testing.assert_close(
        module.state_dict()["body.weight"], state()["body.weight"], rtol=1e-3, atol=1e-3
    )


def test_counters_of_batches_may_be_missing(folder: Path) -> None:
    weights = state()
    del weights["norm.num_batches_tracked"]
    save_file(weights, folder / "old.safetensors")
    load_module(spec(checkpoint="old.safetensors"), folder)


def test_two_folders_with_a_file_of_one_name_are_apart(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.py").write_text("from torch import nn\nclass Generator(nn.Module):\n    pass\n")
    assert hasattr(build_module(spec(), folder), "body")
    assert not hasattr(build_module(spec(), other), "body")


@pytest.mark.parametrize(
    ("callable", "arguments", "what", "next"),
    [
        ("absent.py:Generator", {}, "there is no file", None),
        (
            "no_such_package.model:Generator",
            {},
            "ModuleNotFoundError: No module named 'no_such_package'",
            "install",
        ),
        ("broken.py:Generator", {}, "SyntaxError", "install"),
        ("raises.py:Generator", {}, "ZeroDivisionError", "install"),
        ("model.py:Generatr", {}, "did you mean 'Generator'", "Generator"),
        ("model.py:answer", {}, "neither a torch.nn.Module's class nor a function", "model.py:make"),
        ("model.py:wrong", {}, "gave int, not a torch.nn.Module", None),
        ("model.py:fail", {}, "no such luck", None),
        ("model.py:Generator", {"widht": 3}, "'widht'", "(width=4)"),
        ("model.py:Generator", {"width": "x"}, "model.py:Generator cannot be called", None),
    ],
)
def test_what_cannot_be_built_is_refused(
    folder: Path, callable: str, arguments: dict[str, Any], what: str, next: str | None
) -> None:
    (folder / "broken.py").write_text("def f(:\n")
    (folder / "raises.py").write_text("\n1 / 0\n")
    with pytest.raises(ModelError) as caught:
        load_module(spec(callable, arguments=arguments), folder)
    assert what in caught.value.what
    assert next is None or next in (caught.value.next or "")
    assert len(str(caught.value).splitlines()) < 8


@pytest.mark.parametrize(
    "named",
    [
        "os:system",
        "os.path:os.system",
        "subprocess:Popen",
        "numpy:save",
        "torch:save",
        "torch.hub:load",
        "torch:jit.load",
        "tool:touch",
        "tool:Tool",
        "tool.py:touch_all",
        "tool.py:later",
        "tool.py:system",
        "tool.py:os.system",
        "tool.py:Tool",
        "tool.py:tool",
        "../outside.py:touch",
    ],
)
def test_nothing_but_what_makes_networks_is_called(folder: Path, named: str) -> None:
    tool = """
import functools
import os
from os import system
from pathlib import Path
from shutil import rmtree as touch_all

def touch(**arguments):
    Path(__file__).with_name("called").touch()

class Tool:
    def __init__(self, **arguments):
        touch()

    __call__ = __init__

later = functools.partial(touch)
tool = object.__new__(Tool)
"""
    (folder / "tool.py").write_text(tool)
    (folder.parent / "outside.py").write_text(tool)
    victim = folder / "victim"
    victim.mkdir()
    arguments = {"command": f"touch {folder / 'called'}", "args": ["touch", str(folder / "called")]}
    with pytest.raises(ModelError, match=r"neither a torch.nn.Module's class|Python's own"):
        load_module(spec(named, arguments={**arguments, "path": str(victim)}), folder)
    assert victim.is_dir()
    assert not list(folder.parent.rglob("called"))


@pytest.mark.parametrize("named", ["model.py:make", "made.py:Made.of", "../elsewhere.py:Generator"])
def test_functions_of_ones_own_and_classes_from_anywhere_are_called(folder: Path, named: str) -> None:
    text = (folder / "model.py").read_text()
    (folder / "model.py").write_text(f"{text}\n\ndef make(**arguments):\n    return Generator(**arguments)\n")
    (folder / "made.py").write_text(
        f"{text}\n\nclass Made(Generator):\n    of = classmethod(lambda cls: cls())\n"
    )
    (folder.parent / "elsewhere.py").write_text(text)
    assert hasattr(build_module(spec(named), folder), "body")


@pytest.mark.parametrize(("file", "line"), [("broken.py", 1), ("raises.py", 2)])
def test_the_users_own_line_is_named(folder: Path, file: str, line: int) -> None:
    (folder / "broken.py").write_text("def f(:\n")
    (folder / "raises.py").write_text("\n1 / 0\n")
    with pytest.raises(ModelError) as caught:
        build_module(spec(f"{file}:Generator"), folder)
    assert caught.value.where == f"{folder / file}, line {line}"


def refused(folder: Path, **more: Any) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        load_module(spec(**more), folder)
    assert len(str(caught.value).splitlines()) < 16
    return caught.value


def test_a_wrong_shape_names_the_layer_and_both_shapes(folder: Path) -> None:
    error = refused(folder, arguments={"width": 5})
    assert "body.weight: the checkpoint has (4, 2), the module (5, 2)" in error.what


def test_missing_and_unexpected_weights_are_named(folder: Path) -> None:
    weights = state()
    weights["extra.weight"] = weights.pop("body.bias")
    save_file(weights, folder / "odd.safetensors")
    error = refused(folder, checkpoint="odd.safetensors")
    assert "not in the checkpoint: body.bias" in error.what
    assert "not in the module: extra.weight" in error.what


def test_a_prefix_is_found(folder: Path) -> None:
    save_file({f"module.{name}": value for name, value in state().items()}, folder / "ddp.safetensors")
    said: list[str] = []
    module = load_module(spec(checkpoint="ddp.safetensors"), folder, said.append)
    assert torch.equal(module.state_dict()["body.weight"], state()["body.weight"])
    assert said == ["the weights' names begin with 'module.' in the checkpoint, which was left out"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    weights = state()
    weights["body.weight"][1, 0] = value
    save_file(weights, folder / "nan.safetensors")
    assert "'body.weight' holds NaN or infinity" in refused(folder, checkpoint="nan.safetensors").what


def test_a_checkpoint_that_needs_pickle_is_told_how_to_convert_it(folder: Path) -> None:
    module = build_module(spec(), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(module), "__reduce__", lambda self: (print, ("executed",)))
        torch.save(module, folder / "whole.pt")
    error = refused(folder, checkpoint="whole.pt")
    assert "needs pickle" in error.what
    assert "whole.plain.pt" in (error.next or "")


@pytest.mark.parametrize("name", ["whole", 'it\'s $(touch owned) "whole" \\n; touch owned'])
def test_the_conversion_that_the_message_gives_works(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    torch.save(nn.Linear(2, 3), folder / f"{name}.pt")
    arguments = {"in_features": 2, "out_features": 3}
    error = refused(folder, callable="torch.nn:Linear", checkpoint=f"{name}.pt", arguments=arguments)
    words = shlex.split((error.next or "").splitlines()[-1])
    assert words[:2] == ["python", "-c"]
    assert len(words) == 3
    monkeypatch.chdir(folder)
    exec(words[2], {})
    (new,) = folder.glob("*.plain.pt")
    load_module(spec("torch.nn:Linear", new.name, arguments=arguments), folder)


@pytest.mark.parametrize("name", ["bad.safetensors", "bad.pt", "bad.pkl", "zero.pt", "zero.safetensors"])
def test_a_damaged_checkpoint_is_refused(folder: Path, name: str) -> None:
    (folder / "bad.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{]      ")
    (folder / "bad.pt").write_bytes(b"PK\x03\x04 but no archive")
    (folder / "bad.pkl").write_bytes(pickle.dumps({"a": print}))
    (folder / "zero.pt").touch()
    (folder / "zero.safetensors").touch()
    assert str(folder / name) == refused(folder, checkpoint=name).where


def test_a_missing_checkpoint_is_refused(folder: Path) -> None:
    assert "missing" in refused(folder, checkpoint="absent.pt").what


@pytest.mark.parametrize(
    ("content", "more", "what", "next"),
    [
        ({"ema": {"a": torch.ones(1)}, "epoch": 3}, {}, "more than weights", "`key: ema`"),
        ({"ema": {"a": torch.ones(1)}}, {"key": "emma"}, "did you mean 'ema'", "ema"),
        (torch.ones(3), {"key": "ema"}, "no entry 'ema'", ""),
        (torch.ones(3), {}, "no named weights", ""),
        (state(), {"prefix": "module."}, "begins with the prefix 'module.'", "body.weight"),
    ],
)
def test_the_wrong_entry_is_refused(
    folder: Path, content: Any, more: dict[str, str], what: str, next: str
) -> None:
    torch.save(content, folder / "odd.pt")
    error = refused(folder, checkpoint="odd.pt", **more)
    assert what in error.what
    assert next in (error.next or "")


def test_a_published_checkpoint_loads(shared: Path, tmp_path: Path) -> None:
    [file] = [
        file for file in (shared / "generators" / "ttsgan_running").iterdir() if "LICENSE" not in file.name
    ]
    (tmp_path / "empty.py").write_text("from torch import nn\nclass Empty(nn.Module):\n    pass\n")
    error = refused(tmp_path, callable="empty.py:Empty", checkpoint=str(file), key="gen_state_dict")
    assert "not in the module:" in error.what


def test_a_file_of_a_package_imports_its_neighbours_and_one_elsewhere_its_own(folder: Path) -> None:
    inner = folder / "code" / "netpackage" / "models"
    inner.mkdir(parents=True)
    for init in (inner.parent, inner):
        (init / "__init__.py").touch()
    (inner.parent / "parts.py").write_text("from torch import nn\nblock = nn.Linear\n")
    (inner / "net.py").write_text(SOURCE.replace("from layers", "from ..parts"))
    (folder / "recipe").mkdir()
    for name in ("code/netpackage/models/net.py:Generator", "model.py:Generator"):
        module = load_module(
            spec(callable=f"../{name}", checkpoint="../weights.safetensors"), folder / "recipe"
        )
        assert torch.equal(module.state_dict()["body.weight"], state()["body.weight"])


def test_weights_of_other_names_are_taken_in_order_where_kinds_and_shapes_agree(folder: Path) -> None:
    weights = {
        f"old.{index}.{name.rpartition('.')[2]}": value for index, (name, value) in enumerate(state().items())
    }
    torch.save({"run": {"generator": weights}, "w": torch.ones(1)}, folder / "old.pt")
    said: list[str] = []
    module = load_module(spec(checkpoint="old.pt"), folder, said.append)
    assert torch.equal(module.state_dict()["norm.running_var"], state()["norm.running_var"])
    assert any("in order" in text for text in said)
    (key,) = (text for text in said if "entry" in text)
    assert "'run.generator'" in key
    torch.save({"run": {"a": state(), "b": state()}}, folder / "two.pt")
    assert "key: run.a" in (refused(folder, checkpoint="two.pt").next or "")
    load_module(spec(checkpoint="two.pt", key="run.b"), folder)
    del weights["old.1.bias"]
    torch.save(weights, folder / "old.pt")
    assert "not in the checkpoint" in refused(folder, checkpoint="old.pt").what


def test_code_that_imports_from_its_projects_root_is_found_there(folder: Path) -> None:
    inner = folder / "project" / "rootnets" / "blocks"
    inner.mkdir(parents=True)
    (inner / "__init__.py").write_text("from rootnets.parts import block\n")
    (inner.parent / "parts.py").write_text("from torch import nn\nblock = nn.Linear\n")
    (inner.parent / "net.py").write_text(SOURCE.replace("from layers", "from rootnets.blocks"))
    named = spec(callable="project/rootnets/net.py:Generator")
    assert torch.equal(load_module(named, folder).state_dict()["body.weight"], state()["body.weight"])
    (inner.parent / "lost.py").write_text("import nowhere_to_be_found\n" + SOURCE)
    with pytest.raises(ModelError, match="No module named 'nowhere_to_be_found'"):
        build_module(spec(callable="project/rootnets/lost.py:Generator"), folder)


def test_settings_and_numbers_of_numpy_beside_the_weights_need_no_pickle(folder: Path) -> None:
    training = {
        "opt": argparse.Namespace(width=4, out=Path("runs")),
        "best": [np.float64(3.5), np.float32(1), np.int64(7)],
        "netG": {f"module.{name}": value for name, value in state().items()},
    }
    torch.save(training, folder / "training.pt")
    module = load_module(spec(checkpoint="training.pt"), folder)
    assert torch.equal(module.state_dict()["body.weight"], state()["body.weight"])


def test_the_conversion_keeps_entries_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = build_module(spec(), folder)
    module.load_state_dict(state())
    torch.save({"g": build_module(spec(), folder), "g_ema": module, "step": 3}, folder / "both.pkl")
    error = refused(folder, checkpoint="both.pkl")
    monkeypatch.chdir(folder)
    exec(shlex.split((error.next or "").splitlines()[-1])[2], {})
    loaded = load_module(spec(checkpoint="both.plain.pt"), folder)
    assert torch.equal(loaded.state_dict()["body.weight"], state()["body.weight"])
