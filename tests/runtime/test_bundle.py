"""Opening a bundle: a whole one, and one for each way in which it can be damaged or unsafe."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegan.errors import BundleError, InputError
from edgegan.runtime import Bundle, Contract, Generator, write_bundle
from edgegan.runtime.artifact import Artifact, Default
from edgegan.runtime.manifest import LARGEST_MANIFEST, EngineEntry, Manifest

Attack = Callable[[Path], object]


def test_a_whole_bundle_opens(bundle: Bundle, contract: Contract, models: Path) -> None:
    opened = Bundle.open(str(bundle.folder))
    assert opened == bundle
    assert opened.manifest.contract == contract
    assert opened.manifest.models == {"fp32": "model.fp32.onnx", "uint8": "model.uint8.onnx"}
    assert opened.manifest.lineage == [{"stage": "prune", "settings": {"macs": 0.125}}]
    assert sorted(opened.manifest.files) == ["docs/notes.txt", "model.fp32.onnx", "model.uint8.onnx"]
    assert opened.read("docs/notes.txt") == b"what it is\n"
    assert opened.model() == (models / "labelled.onnx").read_bytes()
    assert opened.model("uint8") == (models / "labelled.uint8.onnx").read_bytes()


@pytest.mark.parametrize("schema", [1, 2])
def test_a_bundle_of_an_earlier_version_opens_and_is_kept_as_one_of_today(
    bundle: Bundle, models: Path, contract: Contract, downgrade: Callable[[Path, int], None], schema: int
) -> None:
    files = dict.fromkeys(("fp32", "int8", "int8-arm64", "int8-tensorrt"), models / "labelled.onnx")
    made = write_bundle(
        bundle.folder,
        name="earlier",
        contract=contract,
        models={**files, "mine": models / "labelled.uint8.onnx"},
        default="int8",
    )
    entry = EngineEntry("a.plan", "fp32", "0" * 64, "tensorrt", "10.3.0", "Orin", "8.7", (1, 1, 16))
    made = made.add_engines({entry: b"plan"})
    downgrade(bundle.folder, schema)
    opened = Bundle.open(bundle.folder)
    assert opened.manifest.artifacts == made.manifest.artifacts
    assert opened.manifest.engines == (entry,)
    assert opened.manifest.default_on == Default("int8", "onnxruntime", "x86_64")
    assert opened.contract.streams == schema
    assert opened.artifact("mine") == Artifact("mine", "model.mine.onnx", opset=17, uint8_outputs=True)
    assert opened.artifact("int8-tensorrt").engine == "tensorrt"
    kept = opened.add_engines({}).manifest
    assert json.loads(kept.to_bytes())["schema"] == 3
    assert (kept.contract.streams, kept.artifacts) == (schema, opened.manifest.artifacts)


def test_a_link_to_the_folder_itself_is_followed(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(bundle.folder)
    assert Bundle.open(tmp_path / "current") == bundle


def test_what_the_bundle_does_not_have(bundle: Bundle) -> None:
    with pytest.raises(InputError, match=r"no model 'int4'\n.*\n.*choose one of fp32, uint8"):
        bundle.model("int4")
    with pytest.raises(BundleError, match="no file 'x'"):
        bundle.read("x")


def test_a_file_that_is_swapped_after_its_check_is_refused(bundle: Bundle, models: Path) -> None:
    shutil.copy(models / "labelled.uint8.onnx", bundle.folder / "model.fp32.onnx")
    with pytest.raises(BundleError, match="was changed"):
        bundle.model("fp32")


def flip(name: str, position: int) -> Attack:
    def attack(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[position] ^= 1
        (folder / name).write_bytes(content)

    return attack


def append(name: str) -> Attack:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b"\0")


def link(name: str, target: str) -> Attack:
    def attack(folder: Path) -> None:
        shutil.copytree(folder, folder.parent / "copy")
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(target)

    return attack


def replace_by(make: Callable[[Path], object]) -> Attack:
    def attack(folder: Path) -> None:
        (folder / "model.fp32.onnx").unlink()
        make(folder / "model.fp32.onnx")

    return attack


def bind(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("attack", "what"),
    [
        pytest.param(flip("model.fp32.onnx", 400), "was changed: its SHA-256", id="changed model"),
        pytest.param(flip("docs/notes.txt", 0), "was changed: its SHA-256", id="changed file"),
        pytest.param(append("model.fp32.onnx"), "not 722 bytes long", id="longer file"),
        pytest.param(lambda f: os.truncate(f / "model.fp32.onnx", 99), "not 722 bytes long", id="cut file"),
        pytest.param(
            lambda f: (f / "model.uint8.onnx").unlink(), "'model.uint8.onnx' is missing", id="missing"
        ),
        pytest.param(lambda f: shutil.rmtree(f / "docs"), "'docs/notes.txt' is missing", id="missing folder"),
        pytest.param(lambda f: (f / "manifest.json").unlink(), "holds no manifest.json", id="no manifest"),
        pytest.param(shutil.rmtree, "no such folder", id="no folder"),
        pytest.param(lambda f: (f / "weights.bin").touch(), "'weights.bin' is not in the man", id="extra"),
        pytest.param(
            lambda f: (f / ".hidden").touch(), "'.hidden' is not in the manifest", id="extra hidden"
        ),
        pytest.param(lambda f: (f / "docs/b").touch(), "'docs/b' is not in the manifest", id="extra inside"),
        pytest.param(lambda f: (f / "empty").mkdir(), "'empty' is not in the manifest", id="extra folder"),
        pytest.param(link("model.fp32.onnx", "../copy/model.fp32.onnx"), "is a link", id="link out"),
        pytest.param(link("model.fp32.onnx", "model.uint8.onnx"), "is a link", id="link within"),
        pytest.param(link("model.fp32.onnx", "nowhere"), "is a link", id="link to nothing"),
        pytest.param(link("docs", "../copy/docs"), "is a link", id="link of a folder"),
        pytest.param(link("manifest.json", "../copy/manifest.json"), "it is a link", id="link of manifest"),
        pytest.param(link("extra", "/"), "is a link", id="extra link"),
        pytest.param(replace_by(os.mkdir), "not a plain file", id="folder"),
        pytest.param(replace_by(os.mkfifo), "not a plain file", id="pipe"),
        pytest.param(replace_by(bind), "cannot be read", id="socket"),
    ],
)
def test_a_damaged_folder_is_refused(bundle: Bundle, attack: Attack, what: str) -> None:
    attack(bundle.folder)
    with pytest.raises(BundleError, match=what) as caught:
        Bundle.open(bundle.folder)
    assert str(bundle.folder) in str(caught.value)
    assert caught.value.exit_code == 2


def change(**keys: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest.update(keys)


def entry(**keys: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["files"]["model.fp32.onnx"].update(keys)


def artifact(**keys: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["artifacts"][0].update(keys)


def streams(version: int | None) -> Callable[[dict[str, Any]], None]:
    def attack(manifest: dict[str, Any]) -> None:
        manifest["contract"]["streams"] = version
        if version is None:
            del manifest["contract"]["streams"]

    return attack


def remove(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest.pop(key)


def rename(name: str) -> Callable[[dict[str, Any]], None]:
    """Say that the default model is the file `name`."""

    def attack(manifest: dict[str, Any]) -> None:
        manifest["files"][name] = manifest["files"].pop("model.fp32.onnx")
        manifest["artifacts"][0]["file"] = name

    return attack


@pytest.mark.parametrize(
    ("attack", "what"),
    [
        (change(schema=4), "its schema is 4, and this edgegan reads schemas 1 to 3"),
        (change(schema=0), "its schema is 0"),
        (change(schema="1"), "its schema is '1'"),
        (change(schema=True), "its schema is True"),
        (remove("schema"), "its schema is None"),
        (remove("lineage"), "the key 'lineage' is missing"),
        (remove("contract"), "the key 'contract' is missing"),
        (change(hook="os.system"), "the key 'hook' is unknown"),
        (change(name=""), "'name' must be"),
        (change(name="a\nb"), "'name' must be"),
        (change(name="\x1b[2J"), "'name' must be"),
        (change(created_by=None), "'created_by' must be"),
        (change(contract={"streams": 2}), "the contract is not well formed"),
        (change(contract=[]), "the contract is not well formed"),
        (change(lineage={}), "'lineage' must be"),
        (change(lineage=[1]), "'lineage' must be"),
        (change(figures=[]), "'figures' must be"),
        (change(files=[]), "'files' must be"),
        (change(files={}), "'files' does not list"),
        (change(artifacts=[]), "at least one artifact"),
        (change(artifacts={}), "at least one artifact"),
        (change(artifacts=[{}]), "an artifact must hold name, file"),
        (artifact(hook="os.system"), "an artifact must hold name, file"),
        (artifact(file=1), "'files' does not list"),
        (artifact(file="other.onnx"), "'files' does not list"),
        (artifact(file="docs/notes.txt"), "must be a file that ends in .onnx"),
        (artifact(name="../x"), "cannot name a model"),
        (artifact(name=["fp32"]), "cannot name a model"),
        (artifact(name="uint8"), "two of the artifacts have one name"),
        (artifact(precision="int4"), "the precision of 'fp32' must be one of fp32, fp16, int8"),
        (artifact(precision=[]), "the precision of 'fp32' must be"),
        (artifact(engine="ONNX Runtime"), "cannot name an engine"),
        (artifact(arch=64), "cannot name a CPU"),
        (artifact(target=""), "cannot name a target"),
        (artifact(opset="17"), "the opset of 'fp32' must be a whole number"),
        (artifact(opset=18), "the model is not what the manifest says: opset 18"),
        (artifact(uint8_outputs=1), "the uint8_outputs of 'fp32' must be true or false"),
        (artifact(uint8_outputs=True), "the model is not what the manifest says: .* uint8 outputs: True"),
        (change(default_on=None), "'default_on' must hold 'engine' and 'arch'"),
        (change(default_on={"engine": "a", "arch": None}), "cannot name a CPU"),
        (change(models={"fp32": "model.fp32.onnx"}), "the key 'models' is unknown"),
        (streams(3), "the contract's streams must be 1 to 2, not 3"),
        (streams(None), "says how 'streams' are seeded in schema 3, and only there"),
        (change(default="int8"), "the default 'int8' is not one of the models"),
        (change(default=["fp32"]), "is not one of the models"),
        (entry(sha256="0" * 63), "64 lower-case hexadecimal"),
        (entry(sha256="A" * 64), "64 lower-case hexadecimal"),
        (entry(sha256=None), "64 lower-case hexadecimal"),
        (entry(sha256="0" * 64), "was changed: its SHA-256"),
        (entry(bytes=-1), "whole number from 0"),
        (entry(bytes=722.0), "whole number from 0"),
        (entry(bytes=True), "whole number from 0"),
        (entry(bytes=2**31), "whole number from 0"),
        (entry(bytes=721), "not 721 bytes long"),
        (entry(bytes=723), "not 723 bytes long"),
        (entry(mode=0o755), "and nothing else"),
        (rename("/etc/model.onnx"), "is absolute"),
        (rename("C:/model.onnx"), "is absolute"),
        (rename("c:model.onnx"), "is absolute"),
        (rename("../model.onnx"), "leaves the folder"),
        (rename("docs/../../model.onnx"), "leaves the folder"),
        (rename(".."), "leaves the folder"),
        (rename("docs\\model.onnx"), "holds a backslash"),
        (rename("..\\model.onnx"), "holds a backslash"),
        (rename("./model.onnx"), "not safe"),
        (rename("docs//model.onnx"), "not safe"),
        (rename(".model.onnx"), "not safe"),
        (rename("-model.onnx"), "not safe"),
        (rename("model.onnx."), "not safe"),
        (rename("model.onnx\n"), "not safe"),
        (rename("m\0.onnx"), "not safe"),
        (rename("m\u00f6del.onnx"), "not safe"),
        (rename("nul.onnx"), "not safe"),
        (rename("docs/COM1/model.onnx"), "not safe"),
        (rename("a:stream.onnx"), "is absolute"),
        (rename("model.onnx:stream"), "not safe"),
        (rename(""), "1 to 200 characters"),
        (rename("m" * 201), "1 to 200 characters"),
        (rename("m" * 120), "not safe"),
        (rename("a/b/c/d/model.onnx"), "deeper than 4"),
        (rename("Manifest.json"), "lists the manifest itself"),
        (rename("MODEL.uint8.onnx"), "one file on systems that ignore case"),
    ],
)
def test_a_manifest_that_is_not_valid_is_refused(
    bundle: Bundle, attack: Callable[[dict[str, Any]], object], what: str
) -> None:
    path = bundle.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    attack(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=what):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"null", "must be an object"),
        (b"[1]", "must be an object"),
        (b"{} {}", "not valid JSON"),
        (b"{'schema': 1}", "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b"\xff\xfe{\0}\0", "not valid JSON"),
        (b'{"schema": 1, "schema": 1}', "the key 'schema' occurs twice"),
        (b'{"figures": {"a": 1, "a": 2}}', "the key 'a' occurs twice"),
        (b'{"figures": NaN}', "NaN is not JSON"),
        (b'{"figures": -Infinity}', "-Infinity is not JSON"),
        (b'{"figures": 1e999}', "not valid JSON"),
        (b'{"name": "\\ud800"}', "not valid JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"9" * 100_000, "not valid"),
        (b" " * (LARGEST_MANIFEST + 1), "larger than 4 MiB"),
    ],
)
def test_a_manifest_that_is_not_json_is_refused(bundle: Bundle, content: bytes, what: str) -> None:
    (bundle.folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=what):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("external", "keeps the tensor 'W' in another file"),
        ("external_nested", "keeps the tensor 'hidden' in another file"),
        (None, "not an ONNX model"),
    ],
)
def test_a_model_that_is_not_whole_is_refused(
    bundle: Bundle, models: Path, model: str | None, what: str
) -> None:
    content = (models / f"{model}.onnx").read_bytes() if model else b"not a model"
    _plant(bundle, content)
    with pytest.raises(BundleError, match=what):
        Bundle.open(bundle.folder)
    with pytest.raises(BundleError, match=what):
        Generator.load(bundle.folder, precision="uint8")


def _plant(bundle: Bundle, content: bytes) -> None:
    """Put another model in the bundle, with a manifest that vouches for it."""
    (bundle.folder / "model.fp32.onnx").write_bytes(content)
    path = bundle.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["model.fp32.onnx"] = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    path.write_text(json.dumps(manifest))


def test_a_folder_without_permission(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        with pytest.raises(BundleError, match="folder cannot be read: Permission denied"):
            Bundle.open(bundle.folder)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changed_byte_of_any_file_is_refused(bundle: Bundle, data: Any) -> None:
    name = data.draw(st.sampled_from(sorted(bundle.manifest.files)))
    whole = (bundle.folder / name).read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[position] ^= data.draw(st.integers(1, 255))
    (bundle.folder / name).write_bytes(changed)
    try:
        with pytest.raises(BundleError, match="was changed"):
            Bundle.open(bundle.folder)
    finally:
        (bundle.folder / name).write_bytes(whole)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_manifest_is_one_or_a_bundle_error(bundle: Bundle, data: Any) -> None:
    content = bytearray(bundle.manifest.to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        stop = data.draw(st.integers(start, min(start + 20, len(content))))
        content[start:stop] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"null", b"[]", b"{}", b"1e5", b'"', b"-1", b"true"])
        )
    try:
        manifest = Manifest.from_bytes(bytes(content))
    except BundleError:
        return
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


@pytest.mark.parametrize(
    ("given_", "error", "what"),
    [
        ({"models": {}}, BundleError, "at least one artifact"),
        ({"models": {"FP 32": "labelled.onnx"}}, BundleError, "cannot name a model"),
        ({"models": {"fp32": "absent.onnx"}}, InputError, "cannot read: No such file"),
        ({"models": {"fp32": "external.onnx"}}, BundleError, "in another file"),
        ({"default": "int8"}, BundleError, "is not one of the models"),
        ({"name": ""}, BundleError, "'name' must be"),
        ({"figures": {"fid_10k": float("nan")}}, InputError, "cannot be written as JSON"),
        ({"figures": {"fid_10k": object()}}, InputError, "cannot be written as JSON"),
        ({"extra_files": {"../out.png": "labelled.onnx"}}, BundleError, "leaves the folder"),
        ({"extra_files": {"manifest.json": "labelled.onnx"}}, BundleError, "the manifest itself"),
        ({"extra_files": {"model.fp32.onnx": "labelled.onnx"}}, InputError, "the name of a model"),
    ],
)
def test_what_cannot_be_in_a_bundle_is_not_written(
    tmp_path: Path, models: Path, contract: Contract, given_: dict[str, Any], error: type, what: str
) -> None:
    arguments: dict[str, Any] = {
        "name": "x",
        "contract": contract,
        "models": {"fp32": "labelled.onnx"},
        "default": "fp32",
        "lineage": [],
        "figures": {},
        "extra_files": {},
        **given_,
    }
    for key in ("models", "extra_files"):
        arguments[key] = {name: models / file for name, file in arguments[key].items()}
    with pytest.raises(error, match=what):
        write_bundle(tmp_path / "bundle", **arguments)
    assert list(tmp_path.iterdir()) == []
