"""Whether what a contract says of an input or an output is well formed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeGuard

from edgegan.errors import InputError
from edgegan.runtime.safe_filenames import is_safe

if TYPE_CHECKING:
    from edgegan.runtime.contract import Input, Output, Sample

KINDS = ("normal", "uniform", "labels", "one_hot", "constant", "stored")


def validate_input(spec: Input) -> None:
    """Raise `InputError` where an input is not well formed."""
    kind, classes = spec.sample.kind, spec.sample.classes
    if kind not in KINDS:
        raise InputError(f"{spec.name!r}: sample kind {kind!r} is none of {', '.join(KINDS)}")
    _validate_file(spec.name, spec.sample)
    if spec.dtype not in ("float32", "int64"):
        raise InputError(f"{spec.name!r}: dtype {spec.dtype!r} is not float32 or int64")
    if (kind == "labels") != (spec.dtype == "int64"):
        raise InputError(f"{spec.name!r}: labels are int64, and int64 inputs are labels")
    if kind == "labels" and not (is_integer(classes) and 0 < classes < 2**63):
        raise InputError(f"{spec.name!r}: labels need classes: 1 or more, not {classes}")
    if kind != "labels" and classes is not None:
        raise InputError(f"{spec.name!r}: only labels have classes")
    if kind == "one_hot" and not spec.shape:
        raise InputError(f"{spec.name!r}: one_hot needs a shape whose first size is the number of classes")
    if (kind == "constant") != _is_number(spec.sample.value):
        raise InputError(f"{spec.name!r}: a constant, and nothing else, has a value: a finite number")
    if not _is_range(spec.sample.low, spec.sample.high):
        raise InputError(f"{spec.name!r}: low and high must be two finite numbers, lowest first")


def _validate_file(name: str, sample: Sample) -> None:
    file = sample.file
    if sample.kind != "stored" and file is not None:
        raise InputError(f"{name!r}: only stored inputs have a file")
    if sample.kind == "stored" and not (isinstance(file, str) and is_safe(file) and file.endswith(".npz")):
        raise InputError(
            f"{name!r}: stored inputs need a file: the plain name of an .npz beside the recipe, as in "
            f"inputs.npz, not {file!r:.80}"
        )


def validate_output(spec: Output) -> None:
    """Raise `InputError` where an output is not well formed."""
    if not _is_range(*spec.range):
        raise InputError(f"{spec.name!r}: range {spec.range} must be two finite numbers, lowest first")
    spec.modality.check(spec)


def is_integer(value: Any) -> TypeGuard[int]:
    """Tell whether a value of a file is a whole number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_range(low: Any, high: Any) -> bool:
    return _is_number(low) and _is_number(high) and low < high
