"""What every modality has to keep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegan.errors import DataError, InputError
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.runtime.modality import files

ODD_SHAPES = (
    *((), (1,), (7,), (1, 1), (2, 3), (3, 4, 5), (1, 8, 8)),
    *((2, 3, 4, 5), (3, 2, 6, 6), (2, 1, 2, 1, 2)),
)
INPUTS = (Input("z", (4,)),)


class ModalityTestCase:
    """Holds a modality to `edgegan.runtime.modality.Modality`.

    Give `outputs`: some of a contract's outputs that are of it, by a name for each, as different as they come
    (other axes, ranges, parameters).
    """

    outputs: ClassVar[Mapping[str, Output]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test on each output."""
        if "spec" in metafunc.fixturenames:
            metafunc.parametrize("spec", list(self.outputs.values()), ids=list(self.outputs))

    def raw(self, spec: Output, n: int = 3, seed: int = 0) -> NDArray[np.float32]:
        """Return what a model might give, float32 (n, *shape), of all of the range."""
        low, high = spec.range
        return np.random.default_rng(seed).uniform(low, high, (n, *spec.shape)).astype(np.float32)

    def test_a_contract_spells_it(self, spec: Output) -> None:
        contract = Contract(INPUTS, (spec,))
        assert Contract.from_dict(contract.to_dict()) == contract

    def test_its_metrics_are_there_and_can_be_measured(self, spec: Output) -> None:
        pytest.importorskip("scipy", reason="metrics need edgegan[measure]")
        from edgegan.measure.metrics import Given, find
        from edgegan.measure.metrics.registry import fits
        from edgegan.measure.statistics import Interval

        for name in spec.modality.metrics:
            metric = find(name)
            assert fits(metric, spec)
            if metric.spec.needs == "pair":
                full = spec.modality.encode(self.raw(spec, 4), spec)
                try:
                    figure = metric.measure(Given(spec, full, full))
                except DataError as error:  # as of pictures that are too small for it
                    assert error.what
                else:
                    assert np.isfinite(figure.value if isinstance(figure, Interval) else figure)
        assert spec.modality.metrics, "name the metrics that tell most of it, the first first"

    def test_encoding_keeps_samples_apart_and_what_it_was_given(self, spec: Output) -> None:
        given = self.raw(spec)
        before = given.copy()
        encoded = spec.modality.encode(given, spec)
        np.testing.assert_array_equal(given, before)
        assert len(encoded) == len(given)
        assert encoded.flags.c_contiguous
        assert encoded.dtype.isnative
        for index in range(len(given)):
            alone = spec.modality.encode(given[index : index + 1], spec)
            np.testing.assert_array_equal(alone[0], encoded[index])
        turned = np.asfortranarray(given)
        np.testing.assert_array_equal(spec.modality.encode(turned, spec), encoded)

    def test_values_past_the_range_are_encoded_or_refused(self, spec: Output) -> None:
        far = 10 * self.raw(spec) - 3
        try:
            encoded = spec.modality.encode(far, spec)
        except InputError as error:
            assert error.what
        else:
            assert encoded.shape == spec.modality.encode(self.raw(spec), spec).shape

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_what_is_not_finite_is_refused_or_stays_so(self, spec: Output, bad: float) -> None:
        given = self.raw(spec)
        given.flat[-1] = bad
        try:
            encoded = spec.modality.encode(given, spec)
        except InputError as error:
            assert error.next, "say what to do"
        else:
            assert np.issubdtype(encoded.dtype, np.floating), "an integer that stands for NaN is made up"
            assert not np.isfinite(encoded[-1]).all()

    def test_a_preview_is_a_picture_of_each_sample(self, spec: Output) -> None:
        encoded = spec.modality.encode(self.raw(spec), spec)
        preview = spec.modality.preview(encoded, spec)
        assert preview.dtype == np.uint8
        assert preview.ndim == 4
        assert len(preview) == len(encoded)
        assert min(preview.shape) >= 1
        assert preview.shape[3] in (1, 3)

    def test_each_kind_of_file_is_written(self, spec: Output, tmp_path: Path) -> None:
        encoded = spec.modality.encode(self.raw(spec), spec)
        contract = Contract(INPUTS, (spec,))
        for suffix in dict.fromkeys((*spec.modality.files, ".png", ".npz", ".npy")):
            assert suffix.startswith(".")
            out = tmp_path / f"made{suffix}"
            written = files.write(out, {spec.name: encoded}, contract)
            assert written == files.paths(out, contract, len(encoded))
            assert all(path.stat().st_size > 0 for path in written)
        assert spec.modality.plays is None or spec.modality.plays in spec.modality.files

    def test_levels_are_what_encode_gives(self, spec: Output) -> None:
        levels = spec.modality.levels(spec)
        assert spec.modality.shapes(spec, "float32") == [spec.shape]
        if levels is None:
            return
        encoded = spec.modality.encode(self.raw(spec), spec)
        assert encoded.dtype == np.uint8
        assert encoded.shape[1:] == levels.shape(spec.shape)
        np.testing.assert_array_equal(spec.modality.encode(encoded, spec), encoded)
        assert spec.modality.shapes(spec, "uint8") == [encoded.shape[1:]]

    def test_shares_are_of_the_range(self, spec: Output) -> None:
        if np.issubdtype(spec.modality.encode(self.raw(spec), spec).dtype, np.signedinteger) and not any(
            name.endswith("_db") for name in spec.modality.metrics
        ):
            return  # ids of classes, of which none is higher
        shares = spec.modality.shares(spec.modality.encode(self.raw(spec), spec), spec)
        assert shares.dtype == np.float32
        assert shares.min() >= -0.01
        assert shares.max() <= 1.01

    @pytest.mark.parametrize("shape", ODD_SHAPES, ids=str)
    def test_any_shape_is_refused_in_words_or_works(self, spec: Output, shape: tuple[int, ...]) -> None:
        odd = Output(spec.name, shape, spec.range, modality=spec.modality)
        try:
            odd.modality.check(odd)
        except InputError as error:
            assert odd.name in error.what, "name the output"
            assert error.next, "say what to do"
        else:
            encoded = odd.modality.encode(self.raw(odd), odd)
            assert len(odd.modality.preview(encoded, odd)) == 3
