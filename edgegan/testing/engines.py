"""What every engine has to keep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from edgegan.errors import EdgeganError, InputError, ModelError
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Arrays, Contract, Input, Output, Sample
from edgegan.runtime.engines.base import Check, Engine, EngineKind, Options, Port

MODEL = Path(__file__).with_name("labelled.onnx")
"""z (N, 4) and label (N,) to image (N, 3, 2, 4) = tanh(z W + b[label]); see `expected`."""


class EngineTestCase:
    """Holds a kind of engine to `edgegan.runtime.engines.base`, on a small ONNX file that ships with it.

    Give `kind`. Where this machine cannot run it, as `check` says, its tests are skipped.
    """

    kind: ClassVar[EngineKind]
    tolerance: ClassVar[float] = 1e-5
    """By so much may outputs, in [-1, 1], be off."""
    contract: ClassVar[Contract] = Contract(
        (Input("z", (4,)), Input("label", (), "int64", Sample("labels", classes=10))),
        (Output("image", (3, 2, 4)),),
    )

    def expected(self, inputs: Mapping[str, Any]) -> Arrays:
        """Return what the file gives, computed in numpy."""
        rng = np.random.default_rng(0)
        weight = rng.standard_normal((4, 24)).astype(np.float32)
        bias = rng.standard_normal((10, 1)).astype(np.float32)
        return {"image": np.tanh(inputs["z"] @ weight + bias[inputs["label"]]).reshape(-1, 3, 2, 4)}

    def opened(self, content: bytes | Path = MODEL, **options: Any) -> Engine:
        """Open the file, or other content, in one thread; skip where this machine cannot run it."""
        check = self.kind.check()
        if not check.runs:
            pytest.skip(f"{self.kind.title} does not run here: {check.detail}")
        return self.kind.open(Artifact("fp32", str(MODEL)), content, Options(**{"threads": 1, **options}))

    def close_to(self, outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        """Hold outputs to `expected`, in names, types and values."""
        expected = self.expected(inputs)
        assert list(outputs) == list(expected)
        for name, array in expected.items():
            assert outputs[name].dtype == array.dtype
            np.testing.assert_allclose(outputs[name], array, rtol=0, atol=self.tolerance)

    def test_it_says_what_it_is(self) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9]*", self.kind.name), "lower-case letters and digits"
        assert self.kind.title
        check = self.kind.check()
        assert isinstance(check, Check)
        assert check.engine == self.kind.name
        assert check.detail
        assert check.version or not check.runs
        assert check.runs or check.next, "say how to get it"
        assert set(self.kind.versions()) <= set(self.kind.packages)

    def test_its_ports_are_the_files(self) -> None:
        with self.opened() as engine:
            assert engine.inputs == {"z": Port("float32", (None, 4)), "label": Port("int64", (None,))}
            assert list(engine.inputs) == ["z", "label"], "in the model's order"
            assert engine.outputs == {"image": Port("float32", (None, 3, 2, 4))}
            assert engine.name

    def test_batches_of_any_size_come_out_right(self) -> None:
        with self.opened() as engine:
            for batch in (1, 5, 2, 5):
                inputs = self.contract.sample(batch, batch)
                self.close_to(engine(inputs), inputs)

    def test_a_file_and_its_bytes_are_the_same_model(self) -> None:
        inputs = self.contract.sample(3, 0)
        with self.opened() as file, self.opened(MODEL.read_bytes()) as content:
            np.testing.assert_array_equal(file(inputs)["image"], content(inputs)["image"])

    def test_a_result_is_its_holders_and_inputs_stay_as_they_were(self) -> None:
        inputs, others = self.contract.sample(2, 0), self.contract.sample(2, 1)
        before = {name: array.copy() for name, array in inputs.items()}
        with self.opened() as engine, self.opened() as another:
            first = engine(inputs)
            kept = first["image"].copy()
            engine(others)
            another(others)
            np.testing.assert_array_equal(first["image"], kept)
        np.testing.assert_array_equal(first["image"], kept)
        for name, array in before.items():
            np.testing.assert_array_equal(inputs[name], array)

    def test_arrays_may_lie_in_memory_in_any_way(self) -> None:
        inputs = self.contract.sample(6, 0)
        turned = {"z": np.asfortranarray(inputs["z"])[::2], "label": np.repeat(inputs["label"], 2)[::4]}
        assert not turned["z"].flags.c_contiguous
        with self.opened() as engine:
            self.close_to(engine(turned), turned)

    @pytest.mark.parametrize(
        "change",
        [
            {"z": None},
            {"more": np.zeros((2, 4), np.float32)},
            {"z": np.zeros((2, 5), np.float32)},
            {"z": np.zeros((2, 4), np.float64)},
            {"z": np.zeros((2, 2, 2), np.float32)},
            {"z": np.zeros((3, 4), np.float32)},
        ],
        ids=["one less", "one more", "another width", "another type", "another rank", "another batch"],
    )
    def test_inputs_that_are_not_the_models_are_refused(self, change: dict[str, Any]) -> None:
        given = {**self.contract.sample(2, 0), **change}
        with self.opened() as engine:
            with pytest.raises((InputError, ModelError)):
                engine({name: array for name, array in given.items() if array is not None})
            inputs = self.contract.sample(2, 0)
            self.close_to(engine(inputs), inputs)

    @pytest.mark.parametrize("content", [b"", b"not a model", MODEL.read_bytes()[:300]])
    def test_what_is_no_model_is_refused(self, content: bytes, tmp_path: Path) -> None:
        with pytest.raises(ModelError):
            self.opened(content)
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(ModelError):
            self.opened(tmp_path / "bad.onnx")

    @pytest.mark.parametrize("threads", [0, -1, "3", 1.5])
    def test_threads_that_cannot_be_are_refused_or_passed_over(self, threads: Any) -> None:
        try:
            self.opened(threads=threads).close()
        except EdgeganError as error:
            assert isinstance(error, InputError)

    def test_a_closed_engine_says_so(self) -> None:
        engine = self.opened()
        engine.close()
        engine.close()
        with pytest.raises(InputError):
            engine(self.contract.sample(1, 0))

    def test_layers_take_some_time(self) -> None:
        inputs = self.contract.sample(2, 0)
        with self.opened(profiled=True) as engine:
            for _ in range(4):
                self.close_to(engine(inputs), inputs)
            times = engine.layer_times()
        assert all(layer.name and layer.operator and layer.ms >= 0 for layer in times)
