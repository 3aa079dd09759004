"""Samples as files: which suffixes a contract's outputs can be written under, and the writing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from edgegan.errors import InputError
from edgegan.files import write_bytes
from edgegan.runtime.contract import Arrays, Contract, Output
from edgegan.runtime.grid import image_grid, write_png
from edgegan.runtime.modality.image import Image

PREVIEW, ALL, ONE = ".png", ".npz", ".npy"


def default_name(contract: Contract) -> str:
    """Return what samples are written to unless told otherwise: what suits the first output."""
    first = contract.outputs[0]
    if isinstance(first.modality, Image):
        return "grid.png"
    return f"samples{(*first.modality.files, PREVIEW)[0]}"


def paths(out: Path, contract: Contract, n: int) -> list[Path]:
    """Return the files that `write` would write: `out`, or where each holds one sample, `out` with numbers.

    Raises:
        InputError: no output of the contract is written under the suffix of `out`.
    """
    spec = _written(out, contract)
    if spec is None or n == 1 or not _apart(out, spec):
        return [out]
    digits = len(str(n))
    return [out.with_stem(f"{out.stem}-{index:0{digits}}") for index in range(1, n + 1)]


def write(out: Path, outputs: Arrays, contract: Contract) -> list[Path]:
    """Write samples, encoded, as the kind of file that the suffix of `out` says, and return the files.

    `.npz` holds all outputs by name, `.npy` the only one, `.png` previews in a grid, of images where there
    are some; other suffixes are those of modalities, and the first output that knows the suffix is written.

    Raises:
        InputError: no output is written under this suffix.
        MissingDependency: what writes such files is not installed.
        StorageError: a file cannot be written.
    """
    spec, content = _written(out, contract), io.BytesIO()
    if spec is None:
        arrays: dict[str, Any] = dict(outputs)
        np.savez(content, **arrays)
        write_bytes(out, content.getvalue())
        return [out]
    array = outputs[spec.name]
    files = paths(out, contract, len(array))
    if out.suffix == ONE:
        np.save(content, array, allow_pickle=False)
        write_bytes(out, content.getvalue())
    elif out.suffix == PREVIEW and PREVIEW not in spec.modality.files:
        write_png(out, image_grid(spec.modality.preview(array, spec)))
    elif _apart(out, spec):
        for index, file in enumerate(files):
            spec.modality.write(file, array[index : index + 1], spec)
    else:
        spec.modality.write(out, array, spec)
    return files


def _apart(out: Path, spec: Output) -> bool:
    return spec.modality.one_a_file and out.suffix in spec.modality.files


def _written(out: Path, contract: Contract) -> Output | None:
    """Return the output that goes into `out`, or None where all do."""
    able = [spec for spec in contract.outputs if out.suffix in spec.modality.files]
    if able:
        return able[0]
    if out.suffix == ALL:
        return None
    if out.suffix == ONE and len(contract.outputs) > 1:
        raise InputError(
            f"the generator has {len(contract.outputs)} outputs", where=str(out), next="give --out FILE.npz"
        )
    if out.suffix in (PREVIEW, ONE):
        pictures = [spec for spec in contract.outputs if isinstance(spec.modality, Image)]
        return [*pictures, *contract.outputs][0]
    known = [suffix for spec in contract.outputs for suffix in spec.modality.files]
    raise InputError(
        f"cannot write {out.suffix or 'a file without a suffix'}",
        where=str(out),
        next=f"give --out a name that ends in {', '.join(dict.fromkeys([PREVIEW, *known, ALL, ONE]))}",
    )
