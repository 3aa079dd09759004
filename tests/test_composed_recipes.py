"""What recipes compose by rule keeps the rules, and their metrics see what does not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

Importing = Callable[[str, str], ModuleType]


@pytest.fixture
def of_recipe(monkeypatch: pytest.MonkeyPatch) -> Importing:
    def importing(recipe: str, module: str) -> ModuleType:
        monkeypatch.syspath_prepend(Path(__file__).parents[1] / "recipes" / recipe)
        for name in ("accelerometer", "compose", "harmony", "grammar", "animate", "motion"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        return import_module(module)

    return importing


def test_composed_bars_are_in_harmony_and_wrong_notes_are_heard(of_recipe: Importing) -> None:
    compose = of_recipe("music-piano-roll", "compose")
    rng = np.random.default_rng(3)
    rolls = np.stack([compose.compose(rng) for _ in range(40)])
    harmony = sys.modules["harmony"].harmony
    assert set(np.unique(rolls)) == {0, 1, 2, 3}
    assert len(np.unique(rolls, axis=0)) == 40
    assert harmony(rolls).tolist() == [1.0] * 40
    silent, wrong = rolls.copy(), rolls.copy()
    silent[:, :12] = 0
    assert harmony(silent).max() == 0
    for roll in wrong:
        bass = np.flatnonzero(roll[:, 0] == 1)[0]
        roll[bass + 13, 0] = 2  # a semitone above the root
    assert harmony(wrong).tolist() == [7 / 8] * 40


GOOD = (
    "the dog runs",
    "two small cats see a bird and the child sleeps",
    "some farmers wait in the garden",
    "these birds follow this old fish under the tree",
)
BAD = (
    "",
    "the dogs runs",
    "a dogs run",
    "dog runs",
    "the dog",
    "the dog sees",
    "the dog runs the cat",
    "the dog runs near a house",
    "the dog runs and",
    "the dog runs the",
    "the _ dog runs",
)


def test_sentences_are_told_from_what_is_none(of_recipe: Importing) -> None:
    grammar = of_recipe("text-small", "grammar")

    def judged(sentences: tuple[str, ...]) -> list[float]:
        words = [sentence.split() for sentence in sentences]
        padded = [[*each, *["_"] * (grammar.LENGTH - len(each))] for each in words]
        return grammar.grammatical(np.array([[grammar.IDS[w] for w in row] for row in padded])).tolist()

    assert judged(GOOD) == [1] * len(GOOD)
    assert judged(BAD) == [0] * len(BAD)
    rng = np.random.default_rng(0)
    made = [grammar.sentence(rng) for _ in range(500)]
    assert all(grammar.is_grammatical(words) for words in made)
    assert {word for words in made for word in words} == set(grammar.WORDS) - {grammar.PAD}
    assert max(map(len, made)) <= grammar.LENGTH


def test_animated_digits_move_evenly_and_jumps_are_seen(of_recipe: Importing) -> None:
    animate = of_recipe("moving-digits", "animate")
    digit = np.zeros((28, 28), np.uint8)
    digit[8:20, 12:16] = 255
    rng = np.random.default_rng(0)
    clips = np.stack([animate.animate(digit, rng) for _ in range(20)])
    assert clips.shape == (20, 8, 1, 32, 32)
    mass = clips.sum((2, 3, 4), dtype=np.int64)
    assert np.allclose(mass, 12 * 4 * 255, rtol=0.01)  # it never leaves the field
    unevenness = of_recipe("moving-digits", "motion").unevenness
    frames = clips.transpose(0, 1, 3, 4, 2)
    assert unevenness(frames).max() < 0.05
    assert unevenness(frames[:, [0, 7, 1, 6, 2, 5, 3, 4]]).mean() > 2


def test_spectra_of_composed_series_are_near_and_those_without_noise_are_not(of_recipe: Importing) -> None:
    accelerometer = of_recipe("series-sensors", "accelerometer")
    rng = np.random.default_rng(3)
    series = np.stack([accelerometer.compose(rng) for _ in range(2000)])
    assert series.shape == (2000, 3, 128)
    assert np.abs(series).max() <= 1
    assert accelerometer.spectral_distance(series) < 0.3
    smooth = (series[..., :-1] + series[..., 1:]) / 2
    assert accelerometer.spectral_distance(np.pad(smooth, ((0, 0), (0, 0), (0, 1)), "edge")) > 2
