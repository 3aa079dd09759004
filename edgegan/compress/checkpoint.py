"""Checkpoints read without pickle's code: `.safetensors`, what `torch.save` wrote, TorchScript archives."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import re
import shlex
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from edgegan.compress import torchscript
from edgegan.errors import CheckpointError
from edgegan.reading import Unreadable, check_plain, refusing

WHOLE = "is it there and complete? compare its size or checksum with its source's"
NEEDS_PICKLE = re.compile(
    r"Unsupported (global|class|operand 1(40|47|48|49)\b)|Trying to (load|call)|Can only"
)
"""In what torch says of a checkpoint that is whole, and holds more than plain weights."""
_SCALAR: Any = np.array(0.0).max().__reduce__()[0]
HARMLESS: list[Any] = [
    argparse.Namespace,
    pathlib.PosixPath,
    np.dtype,
    *(type(np.dtype(code)) for code in "?bBhHiIlLqQefd"),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""What trainings save beside weights, and runs no code when it is read: settings, paths, NumPy's numbers."""


def read_checkpoint(file: Path) -> Any:
    """Return what a checkpoint holds: `.safetensors`, what `torch.save` wrote, or a TorchScript archive.

    Raises:
        CheckpointError: it is absent, damaged, or needs pickle.
    """
    if not file.exists():
        raise CheckpointError("the checkpoint is missing", where=str(file), next=WHOLE)
    with refusing(CheckpointError, "the checkpoint cannot be read", where=str(file), next=WHOLE):
        check_plain(file)
        if file.suffix == ".safetensors":
            return load_file(file)
        _check_archive(file)
        if torchscript.is_archive(file):
            return torchscript.read_weights(file)
        with warnings.catch_warnings(), torch.serialization.safe_globals(HARMLESS):
            warnings.simplefilter("ignore")  # of old protocols and types: such files are read all the same
            try:
                return torch.load(file, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError as error:
                if NEEDS_PICKLE.search(str(error)):
                    raise _needs_pickle(file) from error
                raise


def _check_archive(file: Path) -> None:
    """Refuse a zip that says that it holds more than its own bytes: `torch.save` packs nothing."""
    with file.open("rb") as opened:
        if opened.read(4) != b"PK\x03\x04":
            return
        size = opened.seek(0, 2)
        with zipfile.ZipFile(opened) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > size:
                raise Unreadable("it is a compressed or damaged archive, not one that torch.save wrote")


def _needs_pickle(file: Path) -> CheckpointError:
    new = re.sub(r"[^\w.-]", "_", file.stem) + ".plain.pt"
    code = (
        "import torch; f = lambda x: f(x.state_dict()) if hasattr(x, 'state_dict') else "
        "{k: f(v) for k, v in x.items()} if hasattr(x, 'items') else "
        "x if isinstance(x, (torch.Tensor, bool, int, float, str)) else None; "
        f"x = torch.load({file.name!r}, weights_only=False, map_location='cpu'); "
        f"torch.save(f(x), {new!r})"
    )
    return CheckpointError(
        "the checkpoint needs pickle, which may run any code, so edgegan does not read it",
        where=str(file),
        next=f"if you trust its source, write its weights to {new!r}, in its folder, where its classes can "
        "be imported, and name that:\n    " + shlex.join(["python", "-c", code]),
    )
