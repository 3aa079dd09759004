"""Errors say what, where and what next, and know their exit code."""

from __future__ import annotations

import inspect

import pytest

from edgegan import errors
from edgegan.errors import EdgeganError, MissingDependency, ProofError, StageError, UserError

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, EdgeganError)]


def test_a_message_has_its_three_parts() -> None:
    error = StageError("it does not fit", where="layer 3", next="make it smaller")
    assert str(error) == "it does not fit\n  where: layer 3\n  next:  make it smaller"
    assert str(StageError("it does not fit")) == "it does not fit"


@pytest.mark.parametrize("kind", ALL)
def test_users_mistakes_exit_with_2_and_ours_with_1(kind: type[EdgeganError]) -> None:
    assert kind.exit_code == (2 if issubclass(kind, UserError) else 1)
    assert kind in (EdgeganError, UserError, ProofError) or kind.__base__ is UserError


@pytest.mark.parametrize("kind", ALL)
def test_each_error_is_drawn_in_the_tree(kind: type[EdgeganError]) -> None:
    assert errors.__doc__
    assert kind.__name__ in errors.__doc__


@pytest.mark.parametrize(
    ("where", "expected"),
    [(None, "stage prune"), ("layer 3", "stage prune: layer 3"), ("stage prune: x", "stage prune: x")],
)
def test_a_place_is_put_before_the_others_once(where: str | None, expected: str) -> None:
    error = StageError("no", where=where).placed("stage prune")
    assert error.where == expected
    assert f"where: {expected}" in str(error)


def test_a_missing_package_says_what_to_install() -> None:
    error = MissingDependency("scipy", extra="measure", purpose="FID")
    assert error.what == "scipy is not installed, and FID needs it"
    assert error.next == "pip install 'edgegan[measure]'"
