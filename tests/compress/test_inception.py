"""The feature extractor that a recipe names, the standard Inception among them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgegan.compress import inception
from edgegan.compress.inception import InceptionExtractor, extractor_of
from edgegan.errors import DataError
from edgegan.files import sha256
from edgegan.recipe import Recipe

STAND_IN = """
import sys, torch, warnings
warnings.simplefilter("ignore")
class Network(torch.nn.Module):
    def forward(self, x, return_features: bool = False):
        assert return_features and x.dtype == torch.uint8
        return x.float().mean(dim=[2, 3])
torch.jit.script(Network()).save(sys.argv[1])
"""


def recipe(folder: Path, features: str | None) -> Recipe:
    data = {
        "schema": 1,
        "name": "x",
        "model": {"callable": "torch.nn:Identity", "checkpoint": "x.pt"},
        "contract": {
            "inputs": [{"name": "z", "shape": [4]}],
            "outputs": [{"name": "image", "shape": [3, 8, 8]}],
        },
        "stages": [{"export": {}}],
    }
    return Recipe.of({**data, "quality": {"features": features}} if features else data, folder)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the cache folder that passes for the Inception."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "edgegan" / inception.FILE
    path.parent.mkdir()
    (tmp_path / "make.py").write_text(STAND_IN)
    subprocess.run([sys.executable, tmp_path / "make.py", path], check=True)
    monkeypatch.setattr(inception, "SHA256", sha256(path))
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_it_gives_features_of_grey_and_colour_images(stand_in: Path, tmp_path: Path, channels: int) -> None:
    extractor = extractor_of(recipe(tmp_path, "inception"))
    assert extractor is not None
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, channels)).astype(np.uint8)
    features = extractor(images)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, np.broadcast_to(images.mean(axis=(1, 2)), (40, 3)), rtol=1e-5)
    assert extractor.name == f"{inception.FILE} {extractor.sha256[:8]}"


def test_it_can_be_named_by_path(stand_in: Path, tmp_path: Path) -> None:
    assert isinstance(extractor_of(recipe(tmp_path, f"edgegan/{inception.FILE}")), InceptionExtractor)


def test_where_it_is_missing_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DataError) as caught:
        extractor_of(recipe(tmp_path, "inception"))
    assert caught.value.where == str(tmp_path / "edgegan" / inception.FILE)
    assert "curl" in (caught.value.next or "")
    assert "edgegan train-features" in (caught.value.next or "")


def test_another_file_in_its_place_is_refused(stand_in: Path, tmp_path: Path) -> None:
    stand_in.write_bytes(stand_in.read_bytes() + b"x")
    with pytest.raises(DataError, match="not the standard Inception"):
        extractor_of(recipe(tmp_path, "inception"))


def test_a_recipe_without_quality_has_none(tmp_path: Path) -> None:
    assert extractor_of(recipe(tmp_path, None)) is None
