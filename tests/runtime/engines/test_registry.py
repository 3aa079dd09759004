"""Kinds of engines: ours, and those of other packages by their entry points."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgegan.errors import InputError
from edgegan.runtime.engines.registry import engine_kind, engine_kinds, engine_names

TOY = '''
import numpy as np
from edgegan.runtime.engines.base import Check, Engine, EngineKind, Options, Port


class Grey(Engine):
    """Makes every image grey, of the shape of the bundle's."""

    name = "toy 1.0"
    inputs = {"z": Port("float32", (None, 4)), "label": Port("int64", (None,))}
    outputs = {"image": Port("float32", (None, 3, 2, 4))}

    def __call__(self, inputs):
        return {"image": np.zeros((len(inputs["z"]), 3, 2, 4), np.float32)}

    def close(self):
        pass


class Toy(EngineKind):
    name = "toy"
    title = "Toy"

    def check(self):
        return Check(self.name, "toy 1.0", True, True, "anywhere")

    def open(self, artifact, content, options=Options()):
        assert content[:1] == b"\\x08", "an ONNX file begins with its IR version"
        return Grey()
'''


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with two packages as pip leaves them: one with an engine, one whose engine does not import."""
    (tmp_path / "toy_engine.py").write_text(TOY)
    for name, value in (("toy", "toy_engine:Toy"), ("broken", "not_there:Engine")):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[edgegan.engines]\n{name} = {value}\n")
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); " + words[0]
    command = [sys.executable, "-c", code, *words[1:]]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("bundle")
def test_an_engine_of_another_package_runs_a_bundle_and_the_doctor_tells_of_it(installed: Path) -> None:
    images = run(
        installed,
        "from edgegan.runtime import Generator\n"
        "generator = Generator.load('bundle', engine='toy')\n"
        "print(generator.engine.name, set(generator(n=2, seed=1).ravel().tolist()))",
    )
    assert images.stdout == "toy 1.0 {128}\n", images.stderr
    told = run(installed, "from edgegan.cli import main; main()", "doctor").stdout
    assert "toy          runs: toy 1.0, anywhere" in told
    assert "broken       absent: not_there:Engine cannot be imported: ModuleNotFoundError" in told


def test_ours_come_in_one_order_and_are_told_from_what_is_not_there() -> None:
    assert engine_names()[:3] == ["onnxruntime", "openvino", "tensorrt"]
    assert [kind.name for kind in engine_kinds()] == engine_names()
    assert all(kind.title and kind.check().engine == kind.name for kind in engine_kinds())
    with pytest.raises(InputError, match=r"no engine 'onxruntime'; did you mean 'onnxruntime'\?"):
        engine_kind("onxruntime")
