"""The generator: seeds, labels, explicit inputs, other outputs, and models that do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegan.errors import BundleError, InputError, ModelError
from edgegan.runtime import Bundle, Contract, Generator, write_bundle
from edgegan.runtime.contract import Arrays, Input, Output
from edgegan.runtime.engines.base import Engine, Port


@pytest.fixture
def generator(bundle: Bundle) -> Generator:
    return Generator.load(bundle.folder)


class FakeEngine(Engine):
    """Gives `outputs` for any inputs, repeated to the batch's size; remembers the batches."""

    name = "fake"

    def __init__(
        self, outputs: Mapping[str, Any], inputs: Mapping[str, Port], ports: Mapping[str, Port]
    ) -> None:
        self.results, self.inputs, self.outputs = outputs, dict(inputs), dict(ports)
        self.batches: list[int] = []
        self.closed = False

    def __call__(self, inputs: Mapping[str, Any]) -> Arrays:
        n = len(next(iter(inputs.values())))
        self.batches.append(n)
        return {name: np.stack([np.asarray(value)] * n) for name, value in self.results.items()}

    def close(self) -> None:
        self.closed = True


Z_PORT = {"z": Port("float32", (None, 4))}
Z = (Input("z", (4,)),)


def fake(output: Output, value: Any, shape: tuple[int | None, ...], dtype: str = "float32") -> Generator:
    engine = FakeEngine({output.name: value}, Z_PORT, {output.name: Port(dtype, (None, *shape))})
    return Generator(engine, Contract(Z, (output,)))


def test_images_are_uint8_and_repeat(generator: Generator) -> None:
    images = generator(n=4, seed=0, label=3)
    assert images.shape == (4, 2, 4, 3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, generator(n=4, seed=0, label=3))
    assert not np.array_equal(images, generator(n=4, seed=1, label=3))
    assert not np.array_equal(images, generator(n=4, seed=0, label=4))
    assert len(np.unique(images.reshape(4, -1), axis=0)) == 4


def test_images_are_the_models_tanh_of_the_inputs(generator: Generator, contract: Contract) -> None:
    inputs = contract.sample(3, 5)
    expected = np.rint((generator.engine(inputs)["image"] + 1) * 127.5).astype(np.uint8)
    np.testing.assert_array_equal(generator(n=3, seed=5), expected.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(generator(**inputs), expected.transpose(0, 2, 3, 1))


def test_one_sample_where_nothing_is_said(generator: Generator) -> None:
    assert generator().shape == (1, 2, 4, 3)


def test_labels_for_all_or_for_each(generator: Generator) -> None:
    each = generator(n=3, seed=0, label=[3, 1, 4])
    for index, label in enumerate([3, 1, 4]):
        np.testing.assert_array_equal(each[index], generator(n=3, seed=0, label=label)[index])
    np.testing.assert_array_equal(each, generator(seed=0, label=np.array([3, 1, 4], np.int32)))
    np.testing.assert_array_equal(each, generator(n=3, seed=0, label=(3, 1, 4)))


def test_explicit_latents(generator: Generator) -> None:
    z = np.arange(8, dtype=np.float64).reshape(2, 4) / 8
    assert generator(z=z, label=2).shape == (2, 2, 4, 3)
    np.testing.assert_array_equal(generator(z=z, label=2), generator(z=z.tolist(), label=[2, 2]))
    np.testing.assert_array_equal(generator(z=z, label=2, seed=9), generator(z=z, label=2))


def test_a_larger_draw_starts_as_a_smaller(generator: Generator) -> None:
    np.testing.assert_array_equal(generator(n=40, seed=2)[:7], generator(n=7, seed=2))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"n": 0}, "must be 1 or more, not 0"),
        ({"n": -2}, "must be 1 or more, not -2"),
        ({"n": -2, "z": np.zeros((1, 4)), "label": 1}, "must be 1 or more, not -2"),
        ({"n": 0, "label": []}, "must be 1 or more, not 0"),
        ({"label": []}, "must be"),
        ({"n": 2, "seed": -1}, "seed must be 0 or more"),
        ({"n": 2, "label": 10}, r"must be in 0\.\.9"),
        ({"n": 2, "label": -1}, r"must be in 0\.\.9"),
        ({"n": 2, "label": [1, 2, 3]}, "same batch size"),
        ({"n": 2, "label": [[1, 2]]}, "must have shape"),
        ({"n": 2, "label": 1.5}, "must be int64, not float64"),
        ({"n": 2, "label": True}, "must be int64, not bool"),
        ({"n": 2, "label": "cat"}, "must be int64, not <U3"),
        ({"n": 2, "labels": 1}, "no input 'labels'\n.*did you mean 'label'"),
        ({"n": 2, "temperature": 1}, "no input 'temperature'\n.*the inputs are z, label"),
        ({"n": 3, "z": np.zeros((2, 4)), "label": [1, 2]}, "hold 2 samples, not n = 3"),
        ({"z": np.zeros((2, 5))}, r"must have shape \(N, 4\)"),
        ({"z": 0.5}, r"must have shape \(N, 4\)"),
        ({"z": np.full((2, 4), np.nan)}, "NaN"),
        ({"z": [[1, 2], [3]]}, "'z' "),
    ],
)
@pytest.mark.filterwarnings("ignore:Creating an ndarray from ragged")  # numpy below 1.24
def test_arguments_that_do_not_fit(generator: Generator, arguments: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        generator(**arguments)


def test_more_than_memory_holds(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> Arrays:
        raise MemoryError

    monkeypatch.setattr(Contract, "sample", exhausted)
    with pytest.raises(InputError, match="9999 samples do not fit in memory"):
        generator(n=9999)


@pytest.mark.parametrize("n", [2**31, 2**63, 10**30])
def test_more_than_an_array_holds(generator: Generator, n: int) -> None:
    for call in (lambda: generator(n=n), lambda: generator.contract.sample(n, 0)):
        with pytest.raises(InputError, match="2147483647 at most"):
            call()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"threads": 2**31}, "4096 at most"),
        ({"threads": 2**63}, "4096 at most"),
        ({"engine": []}, r"no engine '\[\]'"),
        ({"engine": None}, "no engine 'None'"),
    ],
)
def test_what_no_engine_can_be_asked_for(bundle: Bundle, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Generator.load(bundle.folder, **arguments)


@pytest.mark.parametrize("folder", ["\0", "x" * 5000, None, 1, b"\xff"])
def test_what_is_no_name_of_a_folder(folder: Any) -> None:
    with pytest.raises(BundleError, match="no such folder"):
        Generator.load(folder)


def test_a_uint8_model_passes_through(bundle: Bundle) -> None:
    with Generator.load(bundle.folder) as floats, Generator.load(bundle.folder, precision="uint8") as bytes_:
        assert bytes_.engine.outputs["image"].dtype == "uint8"
        np.testing.assert_array_equal(floats(n=20, seed=4), bytes_(n=20, seed=4))


def test_threads_and_the_precision_are_chosen(bundle: Bundle) -> None:
    with Generator.load(str(bundle.folder), precision="fp32", threads=1) as generator:
        assert generator.engine.name.endswith(" CPU")
    with pytest.raises(InputError, match="no model 'int4'"):
        Generator.load(bundle.folder, precision="int4")
    with pytest.raises(InputError, match="threads must be 1 or more"):
        Generator.load(bundle.folder, threads=0)


def test_a_closed_generator(generator: Generator) -> None:
    with generator:
        generator(n=1)
    with pytest.raises(InputError, match="closed"):
        generator(n=1)
    generator.close()


def test_several_outputs_come_by_name(tmp_path: Path, models: Path, contract: Contract) -> None:
    both = Contract(contract.inputs, (*contract.outputs, Output("code", (4,), layout="")))
    bundle = write_bundle(
        tmp_path / "bundle",
        name="two",
        contract=both,
        models={"fp32": models / "two_outputs.onnx"},
        default="fp32",
    )
    with Generator.load(bundle.folder) as generator:
        outputs = generator(n=2, seed=3)
    assert list(outputs) == ["image", "code"]
    assert outputs["image"].dtype == np.uint8
    assert outputs["code"].dtype == np.float32
    np.testing.assert_array_equal(outputs["code"], contract.sample(2, 3)["z"].astype(np.float16))


def test_many_samples_go_through_in_turns() -> None:
    generator = fake(Output("code", (2,), layout=""), [1.0, 2.0], (2,))
    assert isinstance(generator.engine, FakeEngine)
    assert generator(n=35).shape == (35, 2)
    assert generator.engine.batches == [16, 16, 3]
    with generator:
        pass
    assert generator.engine.closed


def test_any_other_output_is_float32() -> None:
    assert fake(Output("code", (2,), layout=""), np.array([1, 2]), (2,), "int64")(n=3).dtype == np.float32


def test_a_grey_image_keeps_its_channel() -> None:
    images = fake(Output("image", (1, 2, 3), range=(0, 1)), np.ones((1, 2, 3)), (1, 2, 3))(n=2)
    np.testing.assert_array_equal(images, np.full((2, 2, 3, 1), 255))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (np.full((3, 2, 4), np.nan), "NaN or infinity"),
        (np.zeros((3, 4, 2)), "not as the contract says"),
        (np.zeros((3, 2, 4), np.uint8), "not as the contract says"),
        (np.zeros((3, 2, 4), np.int64), "not as the contract says"),
    ],
)
def test_what_the_model_may_not_give(value: Any, what: str) -> None:
    generator = fake(Output("image", (3, 2, 4)), value, (None, None, None))
    with pytest.raises(ModelError, match=what):
        generator(n=2)


@pytest.mark.parametrize(
    ("inputs", "outputs", "what"),
    [
        ({"noise": Z_PORT["z"]}, None, r"inputs are \['noise'\], the contract's \['z'\]"),
        ({**Z_PORT, "label": Port("int64", (None,))}, None, r"inputs are \['label', 'z'\]"),
        (
            {"z": Port("float16", (None, 4))},
            None,
            r"'z' is float16 \(N, 4\), the contract's float32 \(N, 4\)",
        ),
        ({"z": Port("float32", (None, 5))}, None, r"\(N, 5\), the contract's float32 \(N, 4\)"),
        ({"z": Port("float32", (None, 4, 1))}, None, r"\(N, 4, 1\), the contract's"),
        ({"z": Port("float32", (1, 4))}, None, r"\(1, 4\), the contract's"),
        ({"z": Port("float32", ())}, None, r"\(\), the contract's"),
        (None, {"picture": Port("float32", (None, 3, 2, 4))}, r"outputs are \['picture'\]"),
        (None, {"image": Port("float32", (None, 2, 4, 3))}, r"'image' is float32 \(N, 2, 4, 3\)"),
        (None, {"image": Port("uint8", (None, 3, 2, 4))}, r"'image' is uint8 \(N, 3, 2, 4\)"),
        (None, {"image": Port("int64", (None, 3, 2, 4))}, "'image' is int64"),
    ],
)
def test_a_model_that_does_not_fit_the_contract(
    inputs: dict[str, Port] | None, outputs: dict[str, Port] | None, what: str
) -> None:
    engine = FakeEngine({}, inputs or Z_PORT, outputs or {"image": Port("float32", (None, 3, 2, 4))})
    with pytest.raises(ModelError, match=what):
        Generator(engine, Contract(Z, (Output("image", (3, 2, 4)),)))


def test_a_bundle_whose_model_does_not_fit(tmp_path: Path, models: Path, contract: Contract) -> None:
    bundle = write_bundle(
        tmp_path / "bundle",
        name="fixed",
        contract=contract,
        models={"fp32": models / "fixed_batch.onnx"},
        default="fp32",
    )
    with pytest.raises(ModelError, match="free batch axis") as caught:
        Generator.load(bundle.folder)
    assert caught.value.where == str(bundle.folder)


def test_a_damaged_bundle_is_not_loaded(bundle: Bundle) -> None:
    (bundle.folder / "model.uint8.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="was changed"):
        Generator.load(bundle.folder)
