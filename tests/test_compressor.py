"""The main job on another kind of processor: what is measured is what ships."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
from quick_latency import shorten
from small_recipe import RECIPE, write_recipe

from edgegan import compress_generator
from edgegan.runtime import Bundle
from edgegan.runtime.artifact import default_of


@pytest.mark.slow
def test_on_arm64_the_int8_file_for_arm64_is_measured_shown_and_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    stages = "stages:\n  - quantize: {samples: 16, targets: [x64-cpu, arm64-cpu]}\n  - export: {}\n"
    recipe = write_recipe(tmp_path / "small", RECIPE.split("stages:")[0] + stages)
    run = compress_generator(recipe, out=tmp_path / "run")
    assert run.figures is not None
    assert run.bundle is not None
    rows = {row["name"]: row for row in run.figures.to_dict()["rows"]}
    manifest = Bundle.open(run.bundle).manifest
    speedups = {name: row["speedup"] for name, row in rows.items() if row.get("speedup")}
    assert manifest.default == default_of(manifest.artifacts, "aarch64", speedups).name
    assert default_of(manifest.artifacts, "aarch64").name == "int8-arm64"
    assert rows["int8-arm64"]["psnr_db"]["value"] > 20
    assert "x64" in rows["int8"]["unmeasured"]
    assert set(manifest.models) == set(rows) - {"full"}
    assert "samples.png" in manifest.files
    page = (run.folder / "report.html").read_text()
    assert "it is for ONNX Runtime on x64 CPUs, and this is aarch64" in page
    record = json.loads((run.folder / "stages" / "02-export" / "record.json").read_text())
    assert set(record["changed"]["opset"]) == set(manifest.models)
