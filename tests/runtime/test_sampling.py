"""The streams that inputs are drawn from: independent, the same for ever, and as README.md says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_streams import Stream
from plain_streams import tables as plain_tables

import edgegan.runtime
from edgegan.runtime import Bundle, Contract, Generator
from edgegan.runtime.contract import Input, Output, Sample
from edgegan.runtime.sampling import stream

VECTORS = json.loads((Path(edgegan.runtime.__file__).parent / "stream_vectors.json").read_text())
SEEDS = (0, 1, 7, 2**32 - 1, 2**32, 2**32 + 7, 2**63 + 5, 2**64 - 1, 2**100 + 3)


def two_latents(**changes: Any) -> Contract:
    return Contract((Input("a", (4,)), Input("b", (4,))), (Output("x", (2,), layout=""),), **changes)


def test_streams_of_large_seeds_are_not_those_of_other_inputs() -> None:
    contract, old = two_latents(), two_latents(streams=1)
    assert np.array_equal(old.sample(3, 7)["b"], old.sample(3, 2**32 + 7)["a"])
    assert not np.array_equal(contract.sample(3, 7)["b"], contract.sample(3, 2**32 + 7)["a"])
    drawn = {stream(seed, index).bytes(16) for seed in SEEDS for index in range(3)}
    assert len(drawn) == 3 * len(SEEDS)


@pytest.mark.parametrize("seed", [0, 1, 7, 2**32 - 1])
def test_small_seeds_draw_what_they_always_did(seed: int) -> None:
    contract, old = two_latents(), two_latents(streams=1)
    for name, array in old.sample(5, seed).items():
        np.testing.assert_array_equal(contract.sample(5, seed)[name], array)


def test_a_bundle_of_schema_1_draws_as_it_did(bundle: Bundle, downgrade: Callable[[Path, int], None]) -> None:
    with Generator.load(bundle.folder) as generator:
        now = generator(n=2, seed=2**32 + 7)
    downgrade(bundle.folder, 1)
    old = Bundle.open(bundle.folder)
    expected = np.random.default_rng([2**32 + 7, 0]).standard_normal((2, 4), dtype=np.float32)
    np.testing.assert_array_equal(old.contract.sample(2, 2**32 + 7)["z"], expected)
    assert json.loads(old.manifest.to_bytes())["contract"]["streams"] == 1
    with Generator.load(bundle.folder) as generator:
        assert not np.array_equal(generator(n=2, seed=2**32 + 7), now)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['seed']}-{vector['index']}")
@pytest.mark.parametrize("make", [Stream, stream], ids=["plain Python", "numpy"])
def test_the_vectors_hold(vector: dict[str, Any], make: Any) -> None:
    def fresh() -> Any:
        return make(int(vector["seed"], 16), vector["index"])

    if make is Stream:
        bits = [f"{value:#018x}" for value in itertools.islice(iter(fresh().bits64, None), 3)]
        normal, uniform, labels = fresh(), fresh(), fresh()
        drawn = {
            "normal": [normal.normal() for _ in range(5)],
            "uniform": [uniform.uniform(-1.0, 3.0) for _ in range(5)],
            "labels_10": [labels.below(10) for _ in range(8)],
            "rows_of_5": list(itertools.islice(fresh().rows(5), 5)),
        }
    else:
        bits = [f"{value:#018x}" for value in fresh().bit_generator.random_raw(3).tolist()]
        drawn = {
            "normal": Sample("normal").draw(fresh(), (5,), "float32").tolist(),
            "uniform": Sample("uniform", -1.0, 3.0).draw(fresh(), (5,), "float32").tolist(),
            "labels_10": Sample("labels", classes=10).draw(fresh(), (8,), "int64").tolist(),
            "rows_of_5": fresh().permutation(5).tolist(),
        }
    assert {**drawn, "bits64": bits} == {key: vector[key] for key in (*drawn, "bits64")}


@pytest.mark.parametrize("seed", SEEDS)
def test_plain_python_draws_the_same_bits(seed: int) -> None:
    plain, ours = Stream(seed, 1), stream(seed, 1)
    assert [plain.uniform(-1.0, 3.0) for _ in range(9)] == ours.uniform(-1, 3, 9).astype(np.float32).tolist()
    for classes in (1, 2, 10, 2**31 + 11, 2**32, 2**32 + 1, 3 * 2**61, 2**63 - 1):
        assert [plain.below(classes) for _ in range(9)] == ours.integers(0, classes, 9).tolist()
    orders = [*ours.permutation(13).tolist(), *ours.permutation(13).tolist()]
    assert list(itertools.islice(plain.rows(13), 26)) == orders
    assert [plain.normal() for _ in range(3000)] == ours.standard_normal(3000, dtype=np.float32).tolist()


def test_the_tables_are_those_in_numpy() -> None:
    """Of each layer: the largest size that is taken at once, its value, and that the next one is not."""
    tables, rng = plain_tables(), stream(0, 0)
    state: Any = rng.bit_generator.state
    for layer in range(256):
        bound = int(tables["k"][layer])
        for size in (bound - 1, bound):
            if size < 0:
                continue
            rng.bit_generator.state = {**state, "has_uint32": 1, "uinteger": layer | size << 9}
            drawn = float(rng.standard_normal(dtype=np.float32))
            untouched = rng.bit_generator.state["state"] == state["state"]
            assert untouched == (size < bound)
            if untouched:
                assert drawn == np.float32(size) * np.float32(tables["w"][layer])
