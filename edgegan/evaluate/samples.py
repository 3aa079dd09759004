"""Samples of a row for the page of a run: previews of each output, and what a browser plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.files import atomic_path
from edgegan.measure.outputs import Outputs
from edgegan.runtime.contract import Contract, Output
from edgegan.runtime.safe_filenames import is_safe

SHOWN = 64
SOUNDS, CLIPS = 3, 9


def write_samples(path: Path, outputs: Outputs, contract: Contract) -> None:
    """Write previews into the `.npz` at `path`, and what can be played beside it.

    Under `images` are those of the first output, uint8 (N, height, width, 1 or 3), and under `images.NAME`
    those of each other one. Sounds are `ROW.NAME-1.wav` and so on, clips of video in one `ROW.NAME.gif`; an
    output whose name cannot be a file's goes by its number.

    Raises:
        StorageError: a file cannot be written.
        MissingDependency: what writes such files is not installed.
    """
    previews: dict[str, Any] = {}
    for index, spec in enumerate(contract.outputs):
        kept, called = outputs.kept[spec.name], spec.name if is_safe(spec.name) else str(index)
        previews[f"images.{called}" if index else "images"] = spec.modality.preview(kept[:SHOWN], spec)
        _write_played(path.with_name(f"{path.stem}.{called}"), kept, spec)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **previews)


def _write_played(base: Path, kept: NDArray[Any], spec: Output) -> None:
    suffix = spec.modality.plays
    if suffix is None:
        return
    if not spec.modality.one_a_file:
        spec.modality.write(base.with_name(f"{base.name}{suffix}"), kept[:CLIPS], spec)
        return
    for index in range(min(SOUNDS, len(kept))):
        file = base.with_name(f"{base.name}-{index + 1}{suffix}")
        spec.modality.write(file, kept[index : index + 1], spec)
