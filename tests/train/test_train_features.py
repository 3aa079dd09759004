from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgegan.errors import DataError
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.measure.metrics.fid import Statistics, fid
from edgegan.train.data import LabelledImages
from edgegan.train.features import train_features


def stripes(count: int, seed: int) -> LabelledImages:
    """Class 0 has horizontal stripes, class 1 vertical ones, both noisy."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    wave = np.where(np.arange(16) % 4 < 2, 60, 190)
    images = np.where(labels[:, None, None] == 0, wave[None, :, None], wave[None, None, :])
    noisy = np.clip(images + rng.normal(0, 25, images.shape), 0, 255).astype(np.uint8)[..., None]
    return LabelledImages(noisy, labels.astype(np.int64), ("horizontal", "vertical"))


@pytest.mark.slow
def test_the_extractor_is_accurate_small_and_tells_good_images_from_bad(tmp_path: Path) -> None:
    data = stripes(600, 0)
    trained = train_features(data, tmp_path, epochs=3, description="stripes")
    assert trained.accuracy > 0.95
    assert trained.features == 256
    assert trained.extractor.stat().st_size < 3.3e6
    extractor = OnnxExtractor(trained.extractor)
    reference = Reference.load(trained.reference, extractor)
    fresh = stripes(600, 1)
    good = fid(Statistics.of(extractor(fresh.images)), reference.statistics)
    bad = fid(Statistics.of(extractor(fresh.images // 2)), reference.statistics)
    assert good < bad / 5


@pytest.mark.slow
def test_training_that_was_cut_off_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegan.learning.checkpoint.SECONDS", 0.0)
    monkeypatch.setattr("edgegan.learning.algorithms.classification.BATCH", 32)
    data, seen = stripes(120, 0), list[int]()

    def progress(done: int, total: int) -> None:
        seen.append(done)
        if seen == [0, 1, 2, 3, 4]:
            raise KeyboardInterrupt

    train = partial(train_features, epochs=2, width=64, kept=50, mirror=False)
    whole = train(data, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "cut", progress=progress)
    cut = train(data, tmp_path / "cut", progress=progress)
    assert seen == [0, 1, 2, 3, 4, 4, 5, 6]
    assert whole.features == 64
    assert len(Reference.load(whole.reference, OnnxExtractor(whole.extractor)).features) == 50
    assert whole.extractor.read_bytes() == cut.extractor.read_bytes()
    assert not list((tmp_path / "cut").glob("checkpoint*"))


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few"):
        train_features(stripes(50, 0), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_width_that_is_no_multiple_of_eight_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be 100"):
        train_features(stripes(120, 0), tmp_path / "out", width=100)
    assert not list(tmp_path.iterdir())
