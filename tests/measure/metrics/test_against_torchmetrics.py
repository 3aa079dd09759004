"""Our figures against torchmetrics' own computing, where that is installed."""

from __future__ import annotations

import numpy as np
import pytest

from edgegan.measure.metrics.fid import Statistics, fid
from edgegan.measure.metrics.kid import kid
from edgegan.measure.metrics.psnr import psnr
from edgegan.measure.metrics.ssim import ssim

torch = pytest.importorskip("torch")
pytest.importorskip("torchmetrics")

from torchmetrics.functional.image import structural_similarity_index_measure  # noqa: E402
from torchmetrics.image import PeakSignalNoiseRatio  # noqa: E402
from torchmetrics.image.fid import FrechetInceptionDistance, _compute_fid  # noqa: E402
from torchmetrics.image.kid import KernelInceptionDistance, poly_mmd  # noqa: E402


class AsTheyAre(torch.nn.Module):
    """Features in, features out: the metric's own computing, without Inception."""

    num_features = 32

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


@pytest.fixture
def sets() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((900, 32)) @ rng.standard_normal((32, 32)) / 6, 0)
    y = np.maximum(rng.standard_normal((700, 32)) @ rng.standard_normal((32, 32)) / 6 + 0.1, 0)
    return x, y


def test_fid(sets: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (Statistics.of(features) for features in sets)
    theirs = _compute_fid(*(torch.from_numpy(part) for s in (a, b) for part in (s.mean, s.covariance)))
    assert fid(a, b) == pytest.approx(theirs.item(), rel=1e-6)


def test_fid_from_the_features_on(sets: tuple[np.ndarray, np.ndarray]) -> None:
    metric = FrechetInceptionDistance(feature=AsTheyAre(), input_img_size=(1, 1, 1)).set_dtype(torch.float64)
    metric.update(torch.from_numpy(sets[1]), real=True)
    metric.update(torch.from_numpy(sets[0]), real=False)
    assert fid(*(Statistics.of(x) for x in sets)) == pytest.approx(metric.compute().item(), rel=1e-6)


def test_kid_of_one_subset(sets: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = sets[0][:600], sets[1][:600]
    theirs = poly_mmd(torch.from_numpy(y), torch.from_numpy(x))
    assert kid(x, y, subsets=2, subset_size=600).value == pytest.approx(theirs.item(), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all extracted features")
def test_kid_over_the_same_subsets(
    sets: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(7)
    monkeypatch.setattr(torch, "randperm", lambda n: torch.from_numpy(rng.permutation(n)))
    metric = KernelInceptionDistance(feature=AsTheyAre(), subsets=9, subset_size=300)
    metric.update(torch.from_numpy(sets[1]), real=True)
    metric.update(torch.from_numpy(sets[0]), real=False)
    mean, _ = metric.compute()
    assert kid(*sets, subsets=9, subset_size=300, seed=7).value == pytest.approx(mean.item(), rel=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_and_ssim(channels: int) -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(0, 256, (270, 14, 18, channels), dtype=np.uint8)
    b = np.clip(a + rng.normal(0, rng.uniform(1, 60, (270, 1, 1, 1)), a.shape), 0, 255).astype(np.uint8)
    x, y = (torch.from_numpy(images).permute(0, 3, 1, 2).double() for images in (a, b))
    theirs = PeakSignalNoiseRatio(data_range=255.0, dim=(1, 2, 3), reduction="elementwise_mean")(x, y)
    assert psnr(a, b).value == pytest.approx(theirs.item(), rel=1e-6)
    assert ssim(a, b).value == pytest.approx(
        structural_similarity_index_measure(x, y, data_range=255.0).item(), rel=1e-6
    )
