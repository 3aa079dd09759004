"""Free sizes on the device: contracts that have them, inputs of any size, and tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegan.errors import InputError, ModelError
from edgegan.runtime import Contract, Generator
from edgegan.runtime.engines.base import Engine, Port
from edgegan.runtime.sizes import Axis, Size

HALO = 2


def _contract(**changes: Any) -> Contract:
    """Images (3, H, W) with masks (1, H/2, W/2) to images twice as large, in multiples of 2."""
    size = {"nominal": 8, "min": 4, "max": 24, "multiple": 2, "halo": HALO, **changes}
    uniform = {"kind": "uniform", "low": 0, "high": 1}
    return Contract.from_dict(
        {
            "sizes": {"H": size, "W": size},
            "inputs": [
                {"name": "image", "shape": [3, "H", "W"], "sample": uniform},
                {"name": "mask", "shape": [1, "H/2", "W/2"], "sample": uniform},
            ],
            "outputs": [{"name": "large", "shape": [3, "2*H", "2*W"], "range": [0, 1]}],
        }
    )


class Blur(Engine):
    """The image's mean over 5 x 5 pixels, zeros beyond its borders, times the mask, each pixel four times."""

    name = "blur"

    def __init__(self) -> None:
        self.inputs = {
            name: Port("float32", (None, c, None, None)) for name, c in (("image", 3), ("mask", 1))
        }
        self.outputs = {"large": Port("float32", (None, 3, None, None))}
        self.largest = 0

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        image = inputs["image"]
        height, width = image.shape[2:]
        assert (height % 2, width % 2) == (0, 0)
        self.largest = max(self.largest, height, width)
        wide = np.pad(image, [(0, 0), (0, 0), (2, 2), (2, 2)])
        places = [(row, column) for row in range(5) for column in range(5)]
        blurred = sum(wide[:, :, row : row + height, column : column + width] for row, column in places) / 25
        mask = inputs["mask"].repeat(2, axis=2).repeat(2, axis=3)
        large = (blurred * mask).repeat(2, axis=2).repeat(2, axis=3)
        return {"large": large.astype(np.float32)}

    def close(self) -> None:
        """Free nothing."""


def _given(contract: Contract, height: int, width: int, n: int = 1) -> dict[str, Any]:
    return contract.at({"H": height, "W": width}).sample(n, 0)


def test_a_contract_tells_its_shapes_at_any_size() -> None:
    contract = _contract()

    assert contract.inputs[1].shape == (1, 4, 4)
    assert contract.at({"H": 10, "W": 6}).outputs[0].shape == (3, 20, 12)
    assert Contract.from_dict(contract.to_dict()) == contract
    assert contract.to_dict()["outputs"][0]["shape"] == (3, "2*H", "2*W")


@pytest.mark.parametrize("text", ["H", "4*H", "H/4", "256*T-12", "3*H/2+1"])
def test_an_axis_is_written_as_it_is_read(text: str) -> None:
    axis = Axis.parse(text)

    assert str(axis) == text
    assert all(axis.at(axis.solve(axis.at(size)) or 0) == axis.at(size) for size in range(8, 200, 4))


@pytest.mark.parametrize("text", ["", "H*W", "4H", "0*H", "H/0", "-1", "H-", "4*", "H+W", "H**2"])
def test_what_is_no_axis(text: str) -> None:
    with pytest.raises(InputError, match="no size"):
        Axis.parse(text)


@pytest.mark.parametrize(
    ("sizes", "shape", "what"),
    [
        ({"H": {"nominal": 8}}, ["H", "W"], "'W' is not among"),
        ({"H": {"nominal": 8}}, ["H", -1], "positive integer"),
        ({"H": {"nominal": 9, "multiple": 2}}, ["H"], "multiple of 2"),
        ({"H": {"nominal": 8, "min": 16}}, ["H"], "min <= nominal"),
        ({"H": {"nominal": 8, "most": 16}}, ["H"], "unknown field 'most'"),
        ({"H": {"nominal": 8, "name": "W"}}, ["H"], "unknown field 'name'"),
        ({"H": {"nominal": "8"}}, ["H"], "whole numbers"),
        ({"H": {}}, ["H"], "needs its `nominal`"),
        ({"2H": {"nominal": 8}}, [8], "must have a name"),
        ({"batch": {"nominal": 8}}, ["batch"], "batch axis"),
        ({"H": {"nominal": 8}}, [8], "no input has the free size"),
        ({"H": {"nominal": 8}}, ["H/2"], "multiple of 2"),
        ({"H": {"nominal": 8}}, ["H-4"], "less than 1"),
        (["H"], ["H"], "names with their bounds"),
    ],
)
def test_sizes_that_are_not(sizes: Any, shape: list[Any], what: str) -> None:
    data = {
        "sizes": sizes,
        "inputs": [{"name": "x", "shape": shape}],
        "outputs": [{"name": "y", "shape": [2]}],
    }
    with pytest.raises(InputError, match=what):
        Contract.from_dict(data)


def test_axes_are_written_in_the_shape_alone() -> None:
    data = {"inputs": [{"name": "x", "shape": [8], "axes": [None]}], "outputs": []}
    with pytest.raises(InputError, match="'axes'"):
        Contract.from_dict(data)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 13), (24, 5)])
def test_any_size_gives_what_the_model_gives_of_the_picture_mirrored_to_a_multiple(
    height: int, width: int
) -> None:
    contract, engine = _contract(), Blur()
    given = _given(contract, height, width)

    with Generator(engine, contract) as generator:
        made = generator(**given)

    even = {"H": height + height % 2, "W": width + width % 2}
    at = contract.at(even)
    pads = [(0, 0), (0, 0), (0, even["H"] - height), (0, even["W"] - width)]
    grown = {"image": np.pad(given["image"], pads, mode="symmetric")}
    mask = given["mask"]
    rows, columns = at.inputs[1].shape[1:]
    grown["mask"] = np.pad(
        mask, [(0, 0), (0, 0), (0, rows - mask.shape[2]), (0, columns - mask.shape[3])], mode="symmetric"
    )
    whole = at.outputs[0].modality.encode(engine(grown)["large"], at.outputs[0])
    np.testing.assert_array_equal(made, whole[:, : 2 * height, : 2 * width])


@pytest.mark.parametrize("tile", [6, 8, 11, {"H": 8}, {"H": 24, "W": 10}])
@pytest.mark.parametrize(("height", "width"), [(24, 24), (23, 37), (4, 64)])
def test_tiles_give_what_the_whole_gives(tile: Any, height: int, width: int) -> None:
    contract, engine = _contract(max=64), Blur()
    given = _given(contract, height, width, n=2)

    with Generator(engine, contract) as generator:
        whole = generator(**given)
        engine.largest = 0
        tiled = generator(tile=tile, **given)

    np.testing.assert_array_equal(tiled, whole)
    if isinstance(tile, int):
        assert engine.largest <= tile


def test_tiles_make_up_more_than_the_model_takes_at_once() -> None:
    contract = _contract()
    given = _given(contract, 40, 12)

    with Generator(Blur(), contract) as generator:
        with pytest.raises(InputError, match="H = 40") as refused:
            generator(**given)
        assert generator(tile=16, **given).shape == (1, 80, 24, 3)
    assert "tile" in str(refused.value.next)


def test_tiles_that_cannot_be_are_refused_with_the_reason() -> None:
    given = _given(_contract(), 24, 24)

    with Generator(Blur(), _contract()) as generator, pytest.raises(InputError, match="too small") as refused:
        generator(tile=5, **given)
    assert "ask for 6 at least" in str(refused.value.next)
    seen = _contract(halo=None, no_tiles="norm (InstanceNorm2d) sees all of it")
    with Generator(Blur(), seen) as generator, pytest.raises(InputError, match=r"norm \(InstanceNorm2d\)"):
        generator(tile=8, **given)


def test_inputs_that_disagree_on_a_size_are_refused() -> None:
    contract = _contract()
    given: dict[str, Any] = {**_given(contract, 8, 8), "mask": np.zeros((1, 1, 4, 7), np.float32)}

    with Generator(Blur(), contract) as generator, pytest.raises(InputError, match=r"axis of 7.*W/2"):
        generator(**given)


@pytest.mark.parametrize(("height", "what"), [(3, "H = 3"), (26, "H = 26")])
def test_sizes_out_of_bounds_are_refused(height: int, what: str) -> None:
    contract = _contract()
    with Generator(Blur(), contract) as generator, pytest.raises(InputError, match=what):
        generator(**_given(contract, height, 8))


def test_what_is_not_given_has_the_size_of_what_is() -> None:
    contract = _contract()
    with Generator(Blur(), contract) as generator:
        image = _given(contract, 12, 20)["image"]
        assert generator(image=image).shape == (1, 24, 40, 3)
        assert generator(n=3).shape == (3, 16, 16, 3)


def test_a_model_of_fixed_sizes_does_not_fit_a_contract_of_free_ones() -> None:
    engine = Blur()
    engine.inputs["image"] = Port("float32", (None, 3, 8, 8))
    with pytest.raises(ModelError, match="3, H, W"):
        Generator(engine, _contract())


class Hold(Engine):
    """A wave of 4 samples a frame, each the mean of the frame and its two neighbours."""

    name = "hold"

    def __init__(self) -> None:
        self.inputs = {"mel": Port("float32", (None, 2, None))}
        self.outputs = {"wave": Port("float32", (None, None))}

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        mel = np.pad(inputs["mel"].mean(axis=1), [(0, 0), (1, 1)])
        smooth = (mel[:, :-2] + mel[:, 1:-1] + mel[:, 2:]) / 3
        return {"wave": smooth.repeat(4, axis=1).astype(np.float32)}

    def close(self) -> None:
        """Free nothing."""


def test_sound_in_chunks_is_the_whole() -> None:
    contract = Contract.from_dict(
        {
            "sizes": {"T": {"nominal": 16, "halo": 1}},
            "inputs": [{"name": "mel", "shape": [2, "T"]}],
            "outputs": [
                {"name": "wave", "shape": ["4*T"], "modality": {"kind": "audio", "sample_rate": 8000}}
            ],
        }
    )
    mel = contract.at({"T": 37}).sample(2, 0)["mel"]

    with Generator(Hold(), contract) as generator:
        whole = generator(mel=mel)
        pieces = list(generator.chunks(10, mel=mel))

    assert len(pieces) == 5
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
    assert whole.shape == (2, 148, 1)


def test_stored_inputs_are_cut_and_mirrored_to_a_size(tmp_path: Any) -> None:
    contract = Contract.from_dict(
        {
            "sizes": {"T": {"nominal": 4}},
            "inputs": [
                {"name": "x", "shape": [1, "T"], "sample": {"kind": "stored", "file": "x.npz", "high": 1}}
            ],
            "outputs": [{"name": "y", "shape": ["T"], "layout": ""}],
        }
    ).with_stored(tmp_path)
    np.savez(tmp_path / "x.npz", x=np.arange(5, dtype=np.float32).reshape(1, 1, 5))

    assert contract.sample(1, 0)["x"].tolist() == [[[0, 1, 2, 3]]]
    assert contract.at({"T": 7}).sample(1, 0)["x"].tolist() == [[[0, 1, 2, 3, 4, 4, 3]]]


def test_a_size_says_what_it_may_be() -> None:
    assert str(Size("H", 64, 16, 4096)) == "H from 16 to 4096"
