"""Short sentences of a small vocabulary: how they are made, and whether one is well made."""

from __future__ import annotations

import numpy as np

LENGTH = 12
PAD = "_"
DETERMINERS = {"the": "sp", "a": "s", "two": "p", "some": "p", "this": "s", "these": "p"}
ADJECTIVES = ("small", "old", "green", "quiet", "bright", "hungry")
NOUNS = {
    "dog": "dogs",
    "cat": "cats",
    "bird": "birds",
    "child": "children",
    "farmer": "farmers",
    "fish": "fishes",
}
MOVES = {"runs": "run", "sleeps": "sleep", "sings": "sing", "waits": "wait"}
ACTS = {"sees": "see", "follows": "follow", "likes": "like", "finds": "find"}
PLACES = ("near", "behind", "under", "in")
THINGS = ("house", "tree", "river", "garden", "road")
LINKS = ("and", "but")

WORDS = (
    PAD, *DETERMINERS, *ADJECTIVES, *NOUNS, *NOUNS.values(), *MOVES, *MOVES.values(), *ACTS, *ACTS.values(),
    *PLACES, *THINGS, *LINKS,
)  # fmt: skip
IDS = {word: number for number, word in enumerate(WORDS)}


def sentence(rng: np.random.Generator) -> list[str]:
    """Return a sentence of at most 12 words."""
    while True:
        words = _clause(rng)
        if rng.random() < 0.3:
            words += [_one(rng, LINKS), *_clause(rng)]
        if len(words) <= LENGTH:
            return words


def grammatical(outputs):
    """Return for each sentence (N, 12) of ids 1 where it is well made, else 0."""
    return np.array([float(is_grammatical([WORDS[number] for number in ids])) for ids in outputs])


grammatical.title = "Grammatical"
grammatical.modalities = ("tokens",)


def is_grammatical(words) -> bool:
    """Whether words, filled up with pads at the end, are one or two clauses, whose numbers agree."""
    words = list(words)
    while words and words[-1] == PAD:
        words.pop()
    rest = _after_clause(words)
    if rest and rest[0] in LINKS:
        rest = _after_clause(rest[1:])
    return rest == []


def _one(rng, words):
    return words[rng.integers(len(words))]


def _noun_phrase(rng) -> tuple[list[str], str]:
    number = _one(rng, "sp")
    determiner = _one(rng, [word for word, numbers in DETERMINERS.items() if number in numbers])
    adjectives = [_one(rng, ADJECTIVES)] if rng.random() < 0.4 else []
    noun = _one(rng, list(NOUNS))
    return [determiner, *adjectives, noun if number == "s" else NOUNS[noun]], number


def _clause(rng) -> list[str]:
    subject, number = _noun_phrase(rng)
    acts = rng.random() < 0.5
    verbs = ACTS if acts else MOVES
    verb = _one(rng, list(verbs))
    words = [*subject, verb if number == "s" else verbs[verb]]
    if acts:
        words += _noun_phrase(rng)[0]
    if rng.random() < 0.4:
        words += [_one(rng, PLACES), "the", _one(rng, THINGS)]
    return words


def _after_noun_phrase(words):
    if not words or words[0] not in DETERMINERS:
        return None, ""
    numbers, words = DETERMINERS[words[0]], words[1:]
    if words and words[0] in ADJECTIVES:
        words = words[1:]
    number = "s" if words and words[0] in NOUNS else "p" if words and words[0] in NOUNS.values() else ""
    return (words[1:], number) if number and number in numbers else (None, "")


def _after_clause(words):
    """Return what is left after a clause, or None where there is none."""
    words, number = _after_noun_phrase(words)
    if not words:
        return None
    forms = [verbs if number == "s" else verbs.values() for verbs in (MOVES, ACTS)]
    moves, acts = (words[0] in form for form in forms)
    words = words[1:]
    if acts:
        words, _ = _after_noun_phrase(words)
    if words is None or not (moves or acts):
        return None
    if words and words[0] in PLACES:
        placed = words[1:2] == ["the"] and words[2:3] and words[2] in THINGS
        return words[3:] if placed else None
    return words
