from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegan.errors import DataError
from edgegan.measure.metrics import precision_recall as module
from edgegan.measure.metrics.precision_recall import precision_recall


def brute(x: np.ndarray, y: np.ndarray, k: int) -> tuple[float, float]:
    def inside(points: np.ndarray, centres: np.ndarray) -> float:
        radii = [
            sorted(np.linalg.norm(a - b) for j, b in enumerate(centres) if j != i)[k - 1]
            for i, a in enumerate(centres)
        ]
        hits = [any(np.linalg.norm(p - c) <= r for c, r in zip(centres, radii)) for p in points]
        return float(np.mean(hits))

    return inside(x, y), inside(y, x)


@settings(max_examples=30, deadline=None)
@given(st.integers(5, 25), st.integers(5, 25), st.integers(1, 6), st.integers(1, 4), st.integers(0, 10**6))
def test_it_agrees_with_brute_force(n: int, m: int, d: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, d)), rng.standard_normal((m, d)) * 1.5 + 0.3
    assert precision_recall(x, y, k) == brute(x, y, k)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((90, 5)), rng.standard_normal((70, 5))
    whole = precision_recall(x, y)
    monkeypatch.setattr(module, "_BLOCK", 7)
    assert precision_recall(x, y) == whole


def test_equal_sets_have_both_and_far_sets_neither() -> None:
    x = np.random.default_rng(1).standard_normal((100, 8))
    assert precision_recall(x, x) == (1.0, 1.0)
    assert precision_recall(x, x + 100.0) == (0.0, 0.0)


def test_a_collapsed_mode_keeps_precision_and_loses_recall() -> None:
    rng = np.random.default_rng(2)
    centres = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0], [50.0, 50.0]])
    real = np.concatenate([centre + rng.standard_normal((100, 2)) for centre in centres])
    fake = centres[0] + rng.standard_normal((400, 2)) * 0.5
    precision, recall = precision_recall(fake, real)
    assert precision > 0.95
    assert 0.1 < recall < 0.25


def test_samples_off_the_manifold_cost_precision_alone() -> None:
    rng = np.random.default_rng(3)
    real = rng.standard_normal((300, 2))
    fake = np.concatenate([rng.standard_normal((300, 2)), rng.standard_normal((300, 2)) * 0.1 + 500.0])
    precision, recall = precision_recall(fake, real)
    assert 0.4 < precision <= 0.5
    assert recall > 0.9


def test_what_cannot_be_compared_is_refused() -> None:
    x = np.random.default_rng(4).standard_normal((10, 3))
    for k in (0, 10):
        with pytest.raises(DataError, match="k must be"):
            precision_recall(x, x, k)
    with pytest.raises(DataError, match="dimensions"):
        precision_recall(x, x[:, :2])
    with pytest.raises(DataError, match="NaN or infinity"):
        precision_recall(x, np.where(x == x.max(), np.inf, x))
