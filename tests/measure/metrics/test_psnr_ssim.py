from __future__ import annotations

import numpy as np
import pytest

from edgegan.errors import DataError
from edgegan.measure.metrics.psnr import psnr
from edgegan.measure.metrics.ssim import ssim


def images(n: int = 8, size: int = 24, seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), dtype=np.uint8)


def test_psnr_of_a_known_difference() -> None:
    a = np.full((4, 8, 8, 3), 100, np.uint8)
    interval = psnr(a, a + 16)
    assert interval.value == pytest.approx(10 * np.log10(255**2 / 256))
    assert interval.low == pytest.approx(interval.high)


def test_the_difference_does_not_wrap_around() -> None:
    a = np.zeros((2, 8, 8, 1), np.uint8)
    assert psnr(a, a + 255).value == pytest.approx(0.0)


def test_equal_images_have_finite_psnr_and_full_ssim() -> None:
    a = images(size=32)
    assert psnr(a, a).value == pytest.approx(10 * np.log10(255**2 * 3 * 32 * 32))
    assert psnr(a, a).value == pytest.approx(83.0, abs=0.1)
    assert ssim(a, a).value == pytest.approx(1.0)


def test_ssim_of_two_flat_images_is_the_luminance_term() -> None:
    a, b = np.full((2, 16, 16, 1), 50, np.uint8), np.full((2, 16, 16, 1), 100, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(a, b).value == pytest.approx((2 * 50 * 100 + c1) / (50**2 + 100**2 + c1))


def test_both_fall_with_noise_and_more_pairs_narrow_the_interval() -> None:
    rng = np.random.default_rng(1)
    clean = np.repeat(np.repeat(images(300, 8, 2), 4, axis=1), 4, axis=2)
    spread = rng.uniform(2, 20, (300, 1, 1, 1))
    noisy = np.clip(clean + spread * rng.standard_normal(clean.shape), 0, 255).astype(np.uint8)
    noisier = np.clip(clean + 3 * spread * rng.standard_normal(clean.shape), 0, 255).astype(np.uint8)
    for figure in (psnr, ssim):
        near, far, few = figure(clean, noisy), figure(clean, noisier), figure(clean[:30], noisy[:30])
        assert far.high < near.low < near.value < near.high
        assert near.high - near.low < few.high - few.low


def test_what_is_no_pair_is_refused() -> None:
    a = images()
    for b in (a[:4], a[..., :1], a.astype(np.float32), a[0]):
        for figure in (psnr, ssim):
            with pytest.raises(DataError):
                figure(a, b)
    with pytest.raises(DataError, match="at least 2 pairs"):
        psnr(a[:1], a[:1])
    with pytest.raises(DataError, match="at least 11x11"):
        ssim(a[:, :10], a[:, :10])
