"""What a module returns, however nested: each tensor by its path, and those that a contract means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from edgegan.errors import ModelError, some
from edgegan.runtime.contract import Contract, Output

Path = tuple[str, ...]


def leaves(result: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Yield the tensors of `result` with their paths: keys, names of fields, and places in lists."""
    if isinstance(result, Tensor):
        yield path, result
        return
    for key, part in _parts(result):
        yield from leaves(part, (*path, key))


def at(result: Any, path: Path) -> Any:
    """Return what lies at `path`."""
    for key in path:
        result = dict(_parts(result))[key]
    return result


def is_plain(result: Any, contract: Contract) -> bool:
    """Whether `result` is what stages work with: one tensor, or as many in a row as the contract names."""
    if isinstance(result, Tensor):
        return True
    row = isinstance(result, (tuple, list)) and all(isinstance(part, Tensor) for part in result)
    return row and len(result) == len(contract.outputs)


def chosen(result: Any, contract: Contract, named: Mapping[str, str]) -> list[Path]:
    """Return the path of each output of the contract.

    That is the one `named` for it; or that of its name; or the only one of its shape.

    Raises:
        ModelError: there is no such one, or more than one; what there is, is told.
    """
    found = list(leaves(result))
    return [_choose(spec, found, named.get(spec.name)) for spec in contract.outputs]


def _choose(spec: Output, found: Sequence[tuple[Path, Tensor]], named: str | None) -> Path:
    if named is not None:
        fits = [path for path, _ in found if ".".join(path) == named]
    else:
        fits = [path for path, _ in found if path and path[-1] == spec.name]
        fits = fits or [path for path, value in found if tuple(value.shape[1:]) == spec.shape]
    if len(fits) != 1:
        shapes = [f"{'.'.join(path) or 'itself'}: {tuple(value.shape)}" for path, value in found]
        example = ".".join((fits or [path for path, _ in found] or [("0",)])[0])
        raise ModelError(
            f"{'no tensor' if not fits else 'more than one tensor'} that the model returns is the contract's "
            f"output {spec.name!r} of {spec.shape}; one sample gives {some(shapes) or 'no tensor'}",
            where=f"contract: outputs: {spec.name}",
            next=f"name it by its path in the recipe, as in model: {{outputs: {{{spec.name}: {example!r}}}}}",
        )
    return fits[0]


def _parts(result: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(result, Mapping):
        yield from ((str(key), value) for key, value in result.items())
    elif isinstance(result, tuple) and hasattr(result, "_fields"):
        yield from zip(result._fields, result)  # pyright: ignore[reportAttributeAccessIssue]
    elif isinstance(result, (tuple, list)):
        yield from ((str(index), value) for index, value in enumerate(result))
    elif is_dataclass(result) and not isinstance(result, type):
        yield from ((field.name, getattr(result, field.name)) for field in fields(result))
