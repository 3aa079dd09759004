"""A small labelled generator, its contract, and a bundle of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgegan.runtime import Bundle, Contract, write_bundle
from edgegan.runtime.contract import Input, Output, Sample


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of the models that make_fixture.py makes."""
    return Path(__file__).parent / "models"


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract(
        inputs=(
            Input("z", (4,)),
            Input("label", (), "int64", Sample("labels", classes=10)),
        ),
        outputs=(Output("image", (3, 2, 4)),),
    )


@pytest.fixture
def bundle(tmp_path: Path, models: Path, contract: Contract) -> Bundle:
    """A bundle with a float model, a uint8 model, and a file in a folder."""
    (tmp_path / "notes.txt").write_text("what it is\n")
    return write_bundle(
        tmp_path / "bundle",
        name="labelled",
        contract=contract,
        models={"fp32": models / "labelled.onnx", "uint8": models / "labelled.uint8.onnx"},
        default="fp32",
        lineage=[{"stage": "prune", "settings": {"macs": 0.125}}],
        figures={"rows": []},
        extra_files={"docs/notes.txt": tmp_path / "notes.txt"},
    )


@pytest.fixture
def downgrade() -> Callable[[Path, int], None]:
    """Write the manifest of the bundle in a folder as an earlier version did: schema 1 or 2."""

    def downgrade(folder: Path, schema: int) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["default_on"], manifest["contract"]["streams"]
        manifest["models"] = {of["name"]: of["file"] for of in manifest.pop("artifacts")}
        for engine in manifest.get("engines", []):
            engine["precision"] = engine.pop("artifact")
        (folder / "manifest.json").write_text(json.dumps({**manifest, "schema": schema}))

    return downgrade
