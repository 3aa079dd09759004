"""Every error that edgegan raises on purpose.

EdgeganError
|-- UserError                what the user gave cannot be used        (exit code 2)
|   |-- RecipeError          recipe.yaml or a target: unknown key, bad value, missing file
|   |-- ModelError           the module cannot be imported, built or traced
|   |-- CheckpointError      weights: wrong shape, needs pickle, NaN
|   |-- DataError            images or features that cannot be read
|   |-- InputError           arrays that do not fit the contract
|   |-- BundleError          a bundle that is damaged, unknown or unsafe
|   |-- StorageError         disk full, no permission, a folder in use
|   |-- MissingDependency    an optional package is not installed
|   `-- StageError           a stage cannot do what was asked of this model
`-- ProofError               our own check of a result failed: a bug      (exit code 1)

And two warnings: EngineFallback, where a bundle runs on another engine than it was asked to, and OutOfRange,
where an app gives inputs that are far from all that the model was made for.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

SHOWN = 5


class EdgeganError(Exception):
    """Base of all errors; says `what` went wrong, `where`, and what to do `next`."""

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, next: str | None = None) -> None:
        self.what, self.where, self.next = what, where, next
        super().__init__(self._text())

    def placed(self, place: str) -> EdgeganError:
        """Put `place` before where the error was, unless it is there already, and return the error."""
        if not (self.where or "").startswith(place):
            self.where = f"{place}: {self.where}" if self.where else place
        self.args = (self._text(),)
        return self

    def _text(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.next:
            lines.append(f"  next:  {self.next}")
        return "\n".join(lines)


class UserError(EdgeganError):
    """What the user gave cannot be used."""

    exit_code = 2


class RecipeError(UserError):
    """The recipe or target has an unknown key, a bad value or names a missing file."""


class ModelError(UserError):
    """The module cannot be imported, built or traced."""


class CheckpointError(UserError):
    """The weights do not fit the module, need pickle, or are not finite."""


class DataError(UserError):
    """Images, features or statistics that cannot be read."""


class InputError(UserError):
    """Arrays or arguments that do not fit the contract."""


class BundleError(UserError):
    """A bundle that is damaged, of an unknown schema, or unsafe to open."""


class StorageError(UserError):
    """The disk is full, a file may not be written, or a folder is in use for something else."""


class StageError(UserError):
    """A stage cannot do what was asked of this model."""


class MissingDependency(UserError):  # noqa: N818
    """An optional package is not installed."""

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{package} is not installed, and {purpose} needs it",
            next=f"pip install 'edgegan[{extra}]'",
        )


class ProofError(EdgeganError):
    """A check that edgegan makes of its own result failed: please report it as a bug."""


class EngineFallback(UserWarning):
    """A bundle runs on another engine than it was asked to, or on one that was built just now."""


class OutOfRange(UserWarning):
    """An input that an app gave lies far outside the values that the contract draws."""


def some(names: Sequence[str], separator: str = ", ") -> str:
    """Join what a message lists: the first five, and how many more there are."""
    rest = len(names) - SHOWN
    return separator.join(names[:SHOWN]) + (f"{separator}and {rest} more" if rest > 0 else "")


def did_you_mean(name: object, choices: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the choice nearest to `name`, or "" where none is near."""
    near = difflib.get_close_matches(str(name), [str(choice) for choice in choices], n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
