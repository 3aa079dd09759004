"""What an app hands over as an input: pictures in uint8, other integers, layouts, and values far outside."""

from __future__ import annotations

import copy
import dataclasses
import io
import pickle
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegan.errors import InputError, OutOfRange
from edgegan.runtime import Contract, Generator
from edgegan.runtime.contract import Arrays, Input, Output, Sample
from edgegan.runtime.engines.base import Engine, Port
from edgegan.runtime.given import Look


class Echo(Engine):
    """Gives its inputs back as its outputs."""

    name = "echo"

    def __init__(self, contract: Contract) -> None:
        self.inputs = {spec.name: Port(spec.dtype, (None, *spec.shape)) for spec in contract.inputs}
        self.outputs = {f"{name}_out": port for name, port in self.inputs.items()}

    def __call__(self, inputs: Any) -> Arrays:
        return {f"{name}_out": array for name, array in inputs.items()}

    def close(self) -> None: ...


def echo(*inputs: Input, files: dict[str, bytes] | None = None) -> Generator:
    outputs = tuple(Output(f"{spec.name}_out", spec.shape, layout="") for spec in inputs)
    contract = Contract(inputs, outputs)
    if files:
        contract = contract.with_stored(Path("nowhere"), files.__getitem__)
    return Generator(Echo(contract), contract)


def packed(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def picture(low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = (3, 4, 6)) -> Input:
    return Input("image", shape, sample=Sample("stored", low, high, file="inputs.npz"))


def photos(n: int = 2, shape: tuple[int, ...] = (3, 4, 6)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)


@given(st.floats(-300, 300), st.floats(0.01, 600), st.sampled_from(["stored", "uniform"]))
@settings(max_examples=30)
def test_a_uint8_picture_is_scaled_as_stored_ones_are(low: float, width: float, kind: Any) -> None:
    sample = Sample(kind, low, low + width, file="inputs.npz" if kind == "stored" else None)
    generator = echo(Input("image", (3, 4, 6), sample=sample), files={"inputs.npz": packed(image=photos())})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = generator(image=photos())
    expected = low + photos() * np.float64(width / 255)
    np.testing.assert_allclose(got, expected, atol=1e-5 * (abs(low) + width))
    if kind == "stored":
        drawn = generator(n=2, seed=3)
        assert {row.tobytes() for row in drawn} == {row.tobytes() for row in got}
    np.testing.assert_array_equal(generator(image=list(photos())), got)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int32", "int64", "uint64"])
def test_other_integers_are_refused_for_pictures(dtype: str) -> None:
    generator = echo(picture(-1, 1))
    with pytest.raises(InputError, match=rf"stands for -1 to 1, not {dtype}") as caught:
        generator(image=photos().astype(dtype))
    assert "floats from -1 to 1" in (caught.value.next or "")


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_no_integers_stand_for_a_normal_latent(dtype: str) -> None:
    with pytest.raises(InputError, match="drawn as normal"):
        echo(Input("z", (4,)))(z=np.ones((2, 4), dtype))


def test_plain_numbers_are_numbers() -> None:
    generator = echo(Input("psi", (), sample=Sample("uniform", 0, 1)), Input("z", (3,)))
    got = generator.outputs(2, psi=1, z=[[0, 1, 0], [1, 0, 0]])
    assert got["psi_out"].tolist() == [1.0, 1.0]
    assert got["z_out"].tolist() == [[0, 1, 0], [1, 0, 0]]


def test_floats_are_taken_as_they_are() -> None:
    values = np.linspace(-0.9, 1.9, 72).reshape(1, 3, 4, 6)
    np.testing.assert_array_equal(echo(picture())(image=values), values.astype(np.float32))


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (picture(), photos().astype(np.float32)),
        (picture(-1, 1), photos().astype(np.float64)),
        (picture(), photos().tolist()),
        (Input("image", (3, 4, 6)), photos().astype(np.float32)),
        (Input("image", (3, 4, 6), sample=Sample("uniform")), -photos().astype(np.float16)),
    ],
)
def test_floats_far_outside_are_told(spec: Input, value: Any) -> None:
    generator = echo(spec)
    with pytest.warns(OutOfRange, match="'image' goes from .* made for .*uint8") as caught:
        generator(image=value)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("sample", "value", "passes"),
    [
        (Sample("normal"), 5.9, True),
        (Sample("normal"), -19.0, False),
        (Sample("normal"), np.nan, False),
        (Sample("uniform", 0.0, 1.0), -np.inf, False),
        (Sample("uniform", 0.0, 1.0), 1.0, True),
        (Sample("constant", value=0.7), 1e9, True),
        (Sample("constant", value=0.7), np.inf, False),
    ],
)
def test_a_look_passes_what_is_finite_and_near(sample: Sample, value: float, passes: bool) -> None:
    look = Look.of(Input("z", (1,), sample=sample))
    assert look.passes(np.full((1, 1), value, np.float32)) == passes
    assert not look.passes(np.full((1, 1), 0.5))
    assert not look.passes(np.full((1, 2), 0.5, np.float32))
    assert not look.passes(np.float32(0.5))


def test_a_look_passes_labels_that_are_classes() -> None:
    look = Look.of(Input("label", (), "int64", Sample("labels", classes=4)))
    assert look.passes(np.array([0, 3]))
    assert not look.passes(np.array([0, 4]))
    assert not look.passes(np.array([-1]))
    assert not look.passes(np.array(3))
    assert not look.passes(3)


def test_arrays_that_need_no_more_than_a_look_reach_the_engine_as_they_are() -> None:
    generator = echo(Input("z", (2,)))
    z = np.float32([[0.5, 1.0]])
    with mock.patch.object(Echo, "__call__", return_value={"z_out": z}) as called:
        generator(z=z)
    assert called.call_args.args[0]["z"] is z
    with pytest.raises(InputError, match="the seed"):
        generator(z=z, seed=-1)


def test_what_stored_floats_hold_is_not_far_outside() -> None:
    spec = Input("mel", (8,), sample=Sample("stored", file="mels.npz"))
    generator = echo(spec, files={"mels.npz": packed(mel=np.float32([[-11.5] * 8, [2.0] * 8]))})
    assert generator(mel=np.full((1, 8), -9.0)).shape == (1, 8)
    with pytest.warns(OutOfRange, match=r"-11\.5 to 2"):
        generator(mel=np.full((1, 8), 40.0))


@pytest.mark.parametrize(
    ("shape", "given", "advice"),
    [
        ((3, 4, 6), (4, 6, 3), "array.transpose(2, 0, 1)[None]"),
        ((3, 4, 6), (5, 4, 6, 3), "array.transpose(0, 3, 1, 2)"),
        ((3, 4, 6), (3, 4, 6), "array[None]"),
        ((1, 4, 6), (4, 6), "array[None, None]"),
        ((4,), (4,), "array[None]"),
    ],
)
def test_a_picture_in_another_layout_is_told_how_to_turn(
    shape: tuple[int, ...], given: tuple[int, ...], advice: str
) -> None:
    generator = echo(picture(shape=shape))
    with pytest.raises(InputError, match="must have shape") as caught:
        generator(image=np.zeros(given, np.uint8))
    assert advice in (caught.value.next or "")
    turned = eval(advice.split("give ")[-1], {"array": np.zeros(given, np.uint8)})
    assert generator(image=turned).shape[1:] == shape


def test_copies_of_a_contract_keep_where_stored_inputs_lie() -> None:
    label = Input("label", (), "int64", Sample("labels", classes=4))
    content = packed(image=photos(), other=photos(2, (2,)))
    other = Input("other", (2,), sample=Sample("stored", file="others.npz"))
    whole = Contract((label, picture()), (Output("out", (1,), layout=""),))
    bound = whole.with_stored(Path("nowhere"), {"inputs.npz": content, "others.npz": content}.__getitem__)
    assert bound == whole
    fewer = dataclasses.replace(bound, inputs=(picture(),))
    assert fewer.sample(2, 0)["image"].shape == (2, 3, 4, 6)
    assert dataclasses.replace(bound, inputs=(other,)).sample(1, 0)["other"].shape == (1, 2)
    assert fewer.folder == Path("nowhere")
    assert copy.deepcopy(bound).sample(2, 0).keys() == {"label", "image"}
    assert set(bound.to_dict()) == {"inputs", "outputs"}
    assert pickle.loads(pickle.dumps(whole.with_stored(Path("nowhere")))).folder == Path("nowhere")


def test_a_label_stands_for_a_one_hot_row_and_a_constant_may_be_set() -> None:
    generator = echo(
        Input("c", (3,), sample=Sample("one_hot")), Input("psi", (), sample=Sample("constant", value=0.7))
    )
    np.testing.assert_array_equal(generator(n=2, c=1)["c_out"], [[0, 1, 0]] * 2)
    np.testing.assert_array_equal(generator(c=[2, 0])["c_out"], [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(generator(c=np.eye(3)[[1]])["c_out"], [[0, 1, 0]])
    np.testing.assert_array_equal(generator(c=[[0, 1, 0]])["c_out"], [[0, 1, 0]])
    np.testing.assert_array_equal(generator(n=2)["psi_out"], np.float32([0.7, 0.7]))
    np.testing.assert_array_equal(generator(psi=4.0)["psi_out"], [4.0])
    with pytest.raises(InputError, match="or one-hot rows"):
        generator(c=3)
