"""What every metric has to keep."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegan import plugins
from edgegan.errors import DataError
from edgegan.measure.features import Reference
from edgegan.measure.metrics import Given, Metric
from edgegan.measure.metrics.fid import Statistics
from edgegan.measure.metrics.registry import fits, parsed
from edgegan.measure.statistics import Interval
from edgegan.runtime.contract import Output
from edgegan.runtime.modality import Audio, ClassMap, Series, Tensor, Tokens, Video, registry

OUTPUTS = (
    Output("image", (3, 16, 12)),
    Output("wave", (2, 3000), modality=Audio(22050)),
    Output("clip", (3, 5, 16, 12), modality=Video(10)),
    Output("steps", (3, 50), (-2.0, 2.0), modality=Series()),
    Output("tiles", (7, 9, 8), modality=ClassMap()),
    Output("text", (30, 11), modality=Tokens()),
    Output("code", (20,), modality=Tensor()),
)
"""One of each of edgegan's modalities."""
WIDTH = 5
"""Of the features that metrics against a reference are given."""


class MetricTestCase:
    """Holds a metric to `edgegan.measure.metrics.Metric`.

    Give `metrics`, one or several; and `outputs` where they are for a modality that is not edgegan's own, or
    want other shapes.
    """

    metrics: ClassVar[tuple[Metric, ...]]
    outputs: ClassVar[tuple[Output, ...]] = OUTPUTS
    noises: ClassVar[tuple[float, ...]] = (0.0, 0.02, 0.3)
    """Shares of the range by which outputs are off, from what should come out best to the worst."""
    samples: ClassVar[int] = 200
    """Of features, for a metric against a reference."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test on each metric, and each output that it is for."""
        if "output" in metafunc.fixturenames:
            pairs = [(metric, output) for metric in self.metrics for output in self.fitting(metric)]
            ids = [f"{metric.spec.name}-{output.modality.kind}" for metric, output in pairs]
            metafunc.parametrize(("metric", "output"), pairs, ids=ids)
        elif "metric" in metafunc.fixturenames:
            metafunc.parametrize("metric", self.metrics, ids=[each.spec.name for each in self.metrics])

    def fitting(self, metric: Metric) -> list[Output]:
        """Return those of `outputs` that a metric is for."""
        fitting = [output for output in self.outputs if fits(metric, output)]
        assert fitting, f"{metric.spec.name} fits none of the suite's `outputs`: give one that it is for"
        return fitting

    def given(self, metric: Metric, output: Output, noise: float, n: int = 6) -> Given:
        """Return samples that are off by a share of the range, beside the full model's; and features."""
        rng, (low, high) = np.random.default_rng(3), output.range
        clean = rng.uniform(low, high, (n, *output.shape)).astype(np.float32)
        noisy = (clean + noise * (high - low) * rng.standard_normal(clean.shape)).astype(np.float32)
        outputs, full = (output.modality.encode(each, output) for each in (noisy, clean))
        if metric.spec.needs != "reference":
            return Given(output, outputs, full)
        real = rng.standard_normal((self.samples, WIDTH)).astype(np.float32)
        features = rng.standard_normal(real.shape).astype(np.float32) + np.float32(30 * noise)
        reference = Reference(Statistics.of(real), real, "", "")
        return Given(output, outputs, features=features, reference=reference)

    def value(self, metric: Metric, given: Given) -> float:
        """Return the metric's figure, which lies in its interval where it has one."""
        figure = metric.measure(given)
        if isinstance(figure, Interval):
            assert figure.low <= figure.value <= figure.high
            return figure.value
        return figure

    def test_it_says_what_it_is(self, metric: Metric) -> None:
        spec = metric.spec
        assert spec.name
        assert spec.name.isidentifier(), "a recipe names it, and so do figures"
        assert parsed(spec.name) == (spec.name, None), "a number at the end of a figure's name is of samples"
        assert spec.title
        assert spec.better in ("higher", "lower")
        assert spec.needs in ("outputs", "pair", "reference")
        assert math.isfinite(spec.scale)
        assert spec.scale > 0
        known = plugins.names(registry.GROUP, registry.OWN)
        assert set(spec.modalities) <= {*known, *(each.modality.kind for each in self.outputs)}

    def test_it_knows_better_from_worse(self, metric: Metric, output: Output) -> None:
        values = [self.value(metric, self.given(metric, output, noise)) for noise in self.noises]
        assert np.isfinite(values).all()
        ordered = values if metric.spec.better == "lower" else values[::-1]
        assert ordered == sorted(ordered), "it gets better where outputs get worse"
        assert len(set(values)) == len(values), "it cannot tell them apart"

    def test_it_gives_the_same_figure_again_and_changes_nothing(self, metric: Metric, output: Output) -> None:
        given = self.given(metric, output, 0.1)
        arrays = [given.outputs, given.full, given.features]
        before = [None if array is None else array.copy() for array in arrays]
        assert metric.measure(given) == metric.measure(given)
        for array, kept in zip(arrays, before):
            if array is not None and kept is not None:
                np.testing.assert_array_equal(array, kept)

    def test_the_order_of_the_samples_is_none_of_its_business(self, metric: Metric, output: Output) -> None:
        if metric.spec.needs == "reference":
            return  # one may look at subsets
        given = self.given(metric, output, 0.1)
        turned = dataclasses.replace(given, outputs=given.outputs[::-1], full=_reversed(given.full))
        assert self.value(metric, turned) == pytest.approx(self.value(metric, given), rel=1e-6, abs=1e-9)

    def test_it_refuses_what_it_cannot_measure(self, metric: Metric, output: Output) -> None:
        if metric.spec.needs == "outputs":
            return  # it lacks nothing
        given = self.given(metric, output, 0.1)
        without = dataclasses.replace(given, full=None, features=None, reference=None)
        with pytest.raises(DataError):
            metric.measure(without)
        if given.full is not None:
            with pytest.raises(DataError):
                metric.measure(dataclasses.replace(given, full=given.full[:-1]))


def _reversed(array: NDArray[np.generic] | None) -> NDArray[np.generic] | None:
    return None if array is None else array[::-1]
