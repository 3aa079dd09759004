"""The contract: sampling from a seed, checks of inputs, plain data there and back, uint8 images."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgegan.errors import InputError
from edgegan.runtime import Contract
from edgegan.runtime.contract import Input, Output, Sample
from edgegan.runtime.modality.image import to_uint8

shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)
ordered = st.tuples(st.floats(-1e3, 1e3, width=32), st.floats(0.125, 1e3, width=32)).map(
    lambda pair: (pair[0], pair[0] + pair[1])
)
samples = st.one_of(
    st.just(Sample("normal")),
    ordered.map(lambda pair: Sample("uniform", *pair)),
    st.integers(1, 1000).map(lambda classes: Sample("labels", classes=classes)),
    st.floats(-1e3, 1e3, width=32).map(lambda value: Sample("constant", value=value)),
)


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    drawn = draw(st.lists(st.tuples(shapes, samples), min_size=1, max_size=3))
    inputs = tuple(
        Input(f"in{index}", shape, "int64" if sample.kind == "labels" else "float32", sample)
        for index, (shape, sample) in enumerate(drawn)
    )
    size = draw(st.tuples(st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9)))
    image = Output("image", size, draw(ordered), "CHW")
    other = Output("other", draw(shapes), draw(ordered), "")
    return Contract(inputs, draw(st.sampled_from([(image,), (other,), (image, other)])))


@given(contracts(), st.integers(1, 20), st.integers(0, 2**40), st.data())
def test_a_smaller_draw_is_the_start_of_a_larger(contract: Contract, n: int, seed: int, data: Any) -> None:
    m = data.draw(st.integers(1, n))
    larger, smaller = contract.sample(n, seed), contract.sample(m, seed)
    contract.check_inputs(larger)
    for name, array in larger.items():
        np.testing.assert_array_equal(array[:m], smaller[name])


@given(contracts())
def test_plain_data_there_and_back(contract: Contract) -> None:
    assert Contract.from_dict(json.loads(json.dumps(contract.to_dict()))) == contract


@given(ordered, st.integers(0, 100))
def test_uniform_samples_stay_within(pair: tuple[float, float], seed: int) -> None:
    low, high = np.float32(pair[0]), np.float32(pair[1])
    drawn = Sample("uniform", *pair).draw(np.random.default_rng(seed), (100,), "float32")
    assert drawn.dtype == np.float32
    assert low <= drawn.min()
    assert drawn.max() <= high


def test_the_draws_of_a_seed_never_change(contract: Contract) -> None:
    drawn = contract.sample(3, 0)
    np.testing.assert_allclose(drawn["z"][0], [1.117622, -1.387125, -0.4265716, -0.8035873], rtol=1e-6)
    np.testing.assert_array_equal(drawn["label"], [5, 8, 9])
    uniform = Sample("uniform").draw(np.random.default_rng([0, 2]), (2,), "float32")
    np.testing.assert_allclose(uniform, [-0.8383519, -0.1951244], rtol=1e-6)


def test_inputs_have_streams_of_their_own() -> None:
    contract = Contract((Input("a", (8,)), Input("b", (8,))), (Output("out", (1,), layout=""),))
    drawn = contract.sample(4, 0)
    assert abs(np.corrcoef(drawn["a"].ravel(), drawn["b"].ravel())[0, 1]) < 0.5


@pytest.mark.parametrize(("n", "seed", "what"), [(0, 0, "not 0"), (-3, 0, "not -3"), (1, -1, "not -1")])
def test_sizes_and_seeds_below_are_refused(contract: Contract, n: int, seed: int, what: str) -> None:
    with pytest.raises(InputError, match=what):
        contract.sample(n, seed)


Z, LABEL = np.zeros((2, 4), np.float32), np.zeros(2, np.int64)


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"z": Z}, "must be"),
        ({"z": Z, "label": LABEL, "more": Z}, "must be"),
        ({"z": Z[:, :3], "label": LABEL}, r"must have shape \(N, 4\), not \(2, 3\)"),
        ({"z": Z[0], "label": LABEL}, r"not \(4,\)"),
        ({"z": Z.astype(np.float64), "label": LABEL}, "must be float32, not float64"),
        ({"z": Z * np.nan, "label": LABEL}, "holds NaN"),
        ({"z": Z, "label": LABEL + 10}, r"must be in 0\.\.9"),
        ({"z": Z, "label": LABEL - 1}, r"must be in 0\.\.9"),
        ({"z": Z, "label": LABEL[:1]}, "same batch size"),
        ({"z": Z[:0], "label": LABEL[:0]}, "1 or more"),
    ],
)
def test_inputs_that_do_not_fit(contract: Contract, arrays: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        contract.check_inputs(arrays)


def _with(**changes: Any) -> dict[str, Any]:
    """A contract's data with one field changed: `input`, `sample`, `output` update, other keys are set."""
    sample = {"kind": "normal", **changes.pop("sample", {})}
    first = {"name": "z", "shape": [4], "sample": sample, **changes.pop("input", {})}
    output = {"name": "image", "shape": [3, 2, 2], **changes.pop("output", {})}
    return {"inputs": [first], "outputs": [output], **changes}


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ({"inputs": []}, "outputs"),
        (_with(inputs=[]), "at least one input"),
        (_with(more=1), "unknown field 'more'"),
        (_with(inputs=["z"]), "not well formed"),
        (_with(inputs=3), "not well formed"),
        ([], "not well formed"),
        (None, "not well formed"),
        (_with(input={"depth": 1}), "depth"),
        (_with(input={"name": ""}), "cannot name"),
        (_with(input={"name": 3}), "cannot name"),
        (_with(input={"name": "seed"}), "cannot name"),
        (_with(output={"name": "z"}), "must differ"),
        (_with(input={"shape": [0]}), "positive integer"),
        (_with(input={"shape": [-4]}), "positive integer"),
        (_with(input={"shape": [True]}), "positive integer"),
        (_with(input={"shape": [4.0]}), "positive integer"),
        (_with(input={"shape": "4"}), "positive integer"),
        (_with(input={"shape": 4}), "not well formed"),
        (_with(input={"dtype": "float64"}), "not float32 or int64"),
        (_with(input={"dtype": "int64"}), "labels are int64"),
        (_with(sample={"kind": "beta"}), "none of normal, uniform, labels, one_hot, constant, stored"),
        (_with(sample={"kind": "labels", "classes": 3}), "labels are int64"),
        (_with(sample={"kind": "labels"}, input={"dtype": "int64"}), "need classes"),
        (_with(sample={"kind": "labels", "classes": True}, input={"dtype": "int64"}), "need classes"),
        (_with(sample={"classes": 3}), "only labels have classes"),
        (_with(sample={"kind": "uniform", "low": 1, "high": 1}), "lowest first"),
        (_with(sample={"kind": "uniform", "low": "0"}), "finite numbers"),
        (_with(output={"range": [1, -1]}), "lowest first"),
        (_with(output={"range": [0, float("inf")]}), "finite"),
        (_with(output={"range": [0, 10**400]}), "two finite numbers"),
        (_with(output={"range": [0, 1, 2]}), "not well formed"),
        (_with(output={"range": 1}), "not well formed"),
        (_with(output={"shape": [2, 2]}), "layout CHW needs"),
        (_with(output={"shape": [4, 2, 2]}), "layout CHW needs"),
        (_with(output={"layout": "HWC"}), "layout 'HWC'"),
        (_with(output={"layout": []}), "layout"),
    ],
)
def test_contracts_that_are_not(data: Any, what: str) -> None:
    with pytest.raises(InputError, match=what):
        Contract.from_dict(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
field_names = st.sampled_from(["name", "shape", "dtype", "sample", "range", "layout", "inputs", "outputs"])


@given(field_names, json_values, st.sampled_from(["input", "output", "sample", "top"]))
def test_any_data_is_a_contract_or_an_input_error(field: str, value: Any, where: str) -> None:
    data = {**_with(), field: value} if where == "top" else _with(**{where: {field: value}})
    try:
        contract = Contract.from_dict(data)
    except InputError:
        return
    assert Contract.from_dict(contract.to_dict()) == contract


def test_uint8_of_known_values() -> None:
    values = np.array([-2, -1, -0.5, 0, 1 / 255, 1, 7], np.float32).reshape(1, 1, 1, 7)
    assert to_uint8(values, (-1, 1)).ravel().tolist() == [0, 0, 64, 128, 128, 255, 255]


def test_uint8_rounds_half_to_even() -> None:
    halves = (np.arange(255, dtype=np.float64) + 0.5).astype(np.float32).reshape(1, 1, 1, 255)
    expected = [value if value % 2 == 0 else value + 1 for value in range(255)]
    assert to_uint8(halves, (0, 255)).ravel().tolist() == expected


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.sampled_from([1, 3]), *[st.integers(1, 5)] * 2)),
    st.floats(-10, 10),
    st.floats(1, 1e3),
)
def test_uint8_comes_back_from_any_range(images: np.ndarray, low: float, width: float) -> None:
    floats = (images.astype(np.float64) / 255 * width + low).astype(np.float32)
    back = to_uint8(floats, (low, low + width))
    np.testing.assert_array_equal(back, images.transpose(0, 2, 3, 1))
    assert back.flags["C_CONTIGUOUS"]


def test_extreme_values_are_clipped_without_a_warning() -> None:
    assert to_uint8(np.full((1, 1, 1, 1), 3e38, np.float32), (-1, 1)).item() == 255


def test_uint8_images_pass_through() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    assert to_uint8(images, (-1, 1)) is images


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_images_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="NaN or infinity"):
        to_uint8(np.array([[[[0, bad]]]], np.float16), (-1, 1))


@pytest.mark.parametrize("n", [0, -1, 1.5, 2.0, "4", True, None, np.float32(2), [1]])
def test_counts_and_seeds_are_whole_numbers(n: Any) -> None:
    contract = Contract((Input("z", (4,)),), (Output("x", (3, 2, 2)),))
    with pytest.raises(InputError, match="number of samples must be"):
        contract.sample(n, 0)
    if n != 0:
        with pytest.raises(InputError, match="seed must be"):
            contract.sample(1, n)
    assert contract.sample(np.int64(2), np.uint8(3))["z"].shape == (2, 4)  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple), st.integers(0, 2**40))
def test_one_hot_inputs_are_the_labels_of_the_same_stream(shape: tuple[int, ...], seed: int) -> None:
    hot = Contract((Input("c", shape, sample=Sample("one_hot")),), (Output("y", (1,), layout=""),))
    labels = Sample("labels", classes=shape[0])
    plain = Contract((Input("c", shape[1:], "int64", labels),), hot.outputs)
    drawn = hot.sample(5, seed)["c"]
    assert (drawn.dtype, drawn.shape) == (np.float32, (5, *shape))
    np.testing.assert_array_equal(drawn.sum(1), 1)
    np.testing.assert_array_equal(drawn.argmax(1), plain.sample(5, seed)["c"])
    hot.check_inputs({"c": drawn})
    assert Contract.from_dict(json.loads(json.dumps(hot.to_dict()))) == hot


@pytest.mark.parametrize(
    ("shape", "sample"),
    [((), {"kind": "one_hot"}), ((), {"kind": "constant"}), ((), {"kind": "normal", "value": 1.0})],
)
def test_one_hot_needs_an_axis_and_a_constant_its_value(shape: Any, sample: dict[str, Any]) -> None:
    data = {
        "inputs": [{"name": "c", "shape": shape, "sample": sample}],
        "outputs": [{"name": "y", "shape": [1], "layout": ""}],
    }
    with pytest.raises(InputError, match=r"one_hot needs a shape|a constant, and nothing else, has a value"):
        Contract.from_dict(data)
