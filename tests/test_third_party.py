"""A published generator, brought as its user would: own module file, own checkpoint, no data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zoo.celeba_dcgan
from quick_latency import shorten

from edgegan import compress_generator
from edgegan.runtime import Generator

RECIPE = """
schema: 1
name: faces
model: {callable: "model.py:Generator", checkpoint: generator.pt}
contract:
  inputs: [{name: z, shape: [100], sample: {kind: uniform, low: -1, high: 1}}]
  outputs: [{name: image, shape: [3, 32, 32], range: [-1, 1], layout: CHW}]
stages:
  - prune: {macs: 0.3}
  - distill: {steps: 300, batch: 32, learning_rate: 2.0e-3}
  - quantize: {}
  - export: {}
"""


@pytest.mark.slow
def test_the_celeba_dcgan_goes_through_all_stages_to_a_bundle(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch)
    recipe = tmp_path / "faces"
    recipe.mkdir()
    (recipe / "recipe.yaml").write_text(RECIPE)
    shutil.copy(zoo.celeba_dcgan.__file__, recipe / "model.py")
    shutil.copy(shared / zoo.celeba_dcgan.CHECKPOINT, recipe / "generator.pt")

    run = compress_generator(recipe, out=tmp_path / "run")

    assert run.bundle is not None
    assert run.report is not None
    assert run.figures is not None
    rows = {row["name"]: row for row in run.figures.to_dict()["rows"]}
    assert list(rows) == ["full", "prune", "fp32", "fp16", "int8"]
    assert all(not row["failed"] for row in rows.values())
    assert rows["int8"]["macs"] <= 0.3 * rows["full"]["macs"]
    assert rows["int8"]["file_bytes"] < rows["full"]["file_bytes"] / 7
    assert rows["fp32"]["psnr_db"]["value"] > rows["prune"]["psnr_db"]["value"] + 3
    assert rows["fp32"]["psnr_db"]["value"] > 20
    assert rows["int8"]["psnr_db"]["value"] > rows["fp32"]["psnr_db"]["value"] - 1.5
    assert not any(key.startswith("fid") for row in rows.values() for key in row)

    with Generator.load(run.bundle) as generator:
        images = generator(n=4, seed=0)
    assert images.shape == (4, 32, 32, 3)
    assert images.dtype == np.uint8
    manifest = json.loads((run.bundle / "manifest.json").read_text())
    assert [record["stage"] for record in manifest["lineage"]] == ["prune", "distill", "quantize", "export"]
    assert "data:image/png;base64," in run.report.read_text()
