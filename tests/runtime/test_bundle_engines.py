"""Engines in a bundle: what the manifest says of them, and that no other bytes are ever loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from edgegan.errors import BundleError
from edgegan.runtime import Bundle
from edgegan.runtime.engines.tensorrt.cuda import Gpu
from edgegan.runtime.engines.tensorrt.kind import fits
from edgegan.runtime.engines.tensorrt.module import TensorRT, describe
from edgegan.runtime.manifest import EngineEntry

ORIN, OTHER = Gpu("Orin", "8.7"), Gpu("NVIDIA GeForce RTX 4070", "8.9")
TEN = describe(None, "tensorrt", (10, 3, 0))
RTX = describe(None, "tensorrt_rtx", (1, 7, 1, 116))


def find_engine(bundle: Bundle, name: str, trt: TensorRT, gpu: Gpu) -> EngineEntry | None:
    built = bundle.built_from(bundle.artifact(name))
    return next((entry for entry in built if fits(entry, trt, gpu)), None)


@pytest.fixture
def entry(bundle: Bundle) -> EngineEntry:
    sha256 = bundle.manifest.files["model.fp32.onnx"].sha256
    return EngineEntry("fp32.plan", "fp32", sha256, "tensorrt", "10.3.0", "Orin", "8.7", (1, 1, 16))


@pytest.fixture
def portable(entry: EngineEntry) -> EngineEntry:
    return replace(
        entry, file="rtx.plan", module="tensorrt_rtx", version="1.7.1.116", gpu=None, compute_capability=None
    )


def test_engines_are_put_in_and_read_back(bundle: Bundle, entry: EngineEntry, portable: EngineEntry) -> None:
    before = bundle.manifest
    made = bundle.add_engines({entry: b"plan", portable: b"other"})
    again = Bundle.open(bundle.folder)
    assert (
        again.manifest
        == made.manifest
        == replace(before, files=again.manifest.files, engines=(entry, portable))
    )
    assert again.read("fp32.plan") == b"plan"
    assert again.read("rtx.plan") == b"other"
    assert {name: again.manifest.files[name] for name in before.files} == before.files
    assert [path.name for path in bundle.folder.parent.iterdir() if path.is_dir()] == ["bundle"]


def test_an_engine_takes_the_place_of_its_predecessor(
    bundle: Bundle, entry: EngineEntry, portable: EngineEntry
) -> None:
    first = bundle.add_engines({entry: b"old", portable: b"kept"})
    newer = replace(entry, batches=(1, 8, 8))
    second = first.add_engines({newer: b"new"})
    assert set(second.manifest.engines) == {newer, portable}
    assert (second.read("fp32.plan"), second.read("rtx.plan")) == (b"new", b"kept")


def test_a_bundle_without_engines_has_no_such_key(bundle: Bundle) -> None:
    assert "engines" not in json.loads((bundle.folder / "manifest.json").read_text())


@pytest.mark.parametrize("content", [b"evil", b"", b"a longer plan"])
def test_an_engine_that_was_changed_is_refused(bundle: Bundle, entry: EngineEntry, content: bytes) -> None:
    made = bundle.add_engines({entry: b"plan"})
    (bundle.folder / "fp32.plan").write_bytes(content)
    with pytest.raises(BundleError, match="the file was changed"):
        Bundle.open(bundle.folder)
    with pytest.raises(BundleError, match="the file was changed"):
        made.read("fp32.plan")


def test_a_changed_model_takes_no_engines(bundle: Bundle, entry: EngineEntry) -> None:
    (bundle.folder / "model.fp32.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="was changed"):
        bundle.add_engines({entry: b"plan"})


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"file": "gone.plan"}, "must be a file that 'files' lists"),
        ({"file": "model.fp32.onnx"}, r"end in \.plan"),
        ({"file": 1}, r"end in \.plan"),
        ({"artifact": "int4"}, "which the bundle does not have"),
        ({"artifact": None}, "which the bundle does not have"),
        ({"module": "onnxruntime"}, "must be one of tensorrt, tensorrt_rtx"),
        ({"module": ["tensorrt"]}, "must be one of tensorrt, tensorrt_rtx"),
        ({"version": "ten"}, "the version of the engine"),
        ({"version": None}, "the version of the engine"),
        ({"onnx_sha256": "A" * 64}, "the onnx_sha256 of the engine"),
        ({"compute_capability": None}, "both a GPU and its compute capability, or neither"),
        ({"gpu": None}, "both a GPU and its compute capability, or neither"),
        ({"gpu": "\x1b[2J"}, "'gpu' must be"),
        ({"compute_capability": 8.7}, "the compute_capability of the engine"),
        ({"batches": [1, 16]}, "three rising numbers"),
        ({"batches": [0, 1, 2]}, "three rising numbers"),
        ({"batches": [2, 1, 4]}, "three rising numbers"),
        ({"batches": [1, True, 4]}, "three rising numbers"),
        ({"hook": "os.system"}, "and nothing else"),
    ],
)
def test_what_an_engines_entry_may_not_be(
    bundle: Bundle, entry: EngineEntry, changes: dict[str, Any], what: str
) -> None:
    bundle.add_engines({entry: b"plan"})
    rewrite(bundle.folder, lambda manifest: manifest["engines"][0].update(changes))
    with pytest.raises(BundleError, match=what):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize(
    ("engines", "what"),
    [({}, "'engines' must be a list"), ([1], "an engine must hold"), ([{}], "an engine must hold")],
)
def test_what_engines_may_not_be(bundle: Bundle, engines: Any, what: str) -> None:
    rewrite(bundle.folder, lambda manifest: manifest.update(engines=engines))
    with pytest.raises(BundleError, match=what):
        Bundle.open(bundle.folder)


def test_two_engines_are_two_files(bundle: Bundle, entry: EngineEntry) -> None:
    bundle.add_engines({entry: b"plan"})
    rewrite(bundle.folder, lambda manifest: manifest["engines"].append(manifest["engines"][0]))
    with pytest.raises(BundleError, match="two of the engines are one file"):
        Bundle.open(bundle.folder)


def test_an_engine_fits_its_own_version_gpu_and_model_only(bundle: Bundle, entry: EngineEntry) -> None:
    made = bundle.add_engines({entry: b"plan"})
    assert find_engine(made, "fp32", TEN, ORIN) == entry
    assert find_engine(made, "uint8", TEN, ORIN) is None
    assert find_engine(made, "fp32", TEN, OTHER) is None
    assert find_engine(made, "fp32", TEN, Gpu("Orin", "8.9")) is None
    assert find_engine(made, "fp32", RTX, ORIN) is None
    for version in ((10, 3, 1), (10, 3), (8, 6, 1)):
        assert find_engine(made, "fp32", describe(None, "tensorrt", version), ORIN) is None
    for changes in ({"onnx_sha256": "0" * 64}, {"artifact": "uint8"}):
        stale = bundle.add_engines({replace(entry, **changes): b"plan"})
        assert find_engine(stale, "fp32", TEN, ORIN) is None


def test_an_engine_that_is_bound_to_no_gpu_fits_each(bundle: Bundle, portable: EngineEntry) -> None:
    made = bundle.add_engines({portable: b"plan"})
    assert find_engine(made, "fp32", RTX, ORIN) == find_engine(made, "fp32", RTX, OTHER) == portable
    assert find_engine(made, "fp32", TEN, ORIN) is None


def rewrite(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_entry_holds_all_that_an_engine_is_bound_to(entry: EngineEntry) -> None:
    assert set(asdict(entry)) == {
        *("file", "artifact", "onnx_sha256", "module", "version", "gpu", "compute_capability", "batches")
    }
