"""The weights in a TorchScript archive, read without running it."""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgegan.reading import Unreadable

KINDS = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
DEEPEST = 64


def is_archive(file: Path) -> bool:
    """Whether `file` is what `torch.jit.save` writes: a zip with code in it."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    return any(name.endswith("/constants.pkl") for name in names)


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the tensors of the module in `file` by their names, as its `state_dict` has them.

    Of its pickle only tensors and plain containers are built; classes of the archive stand for the values
    that they hold, and no code of it runs.

    Raises:
        Unreadable: it holds something else, or a tensor that is not whole.
    """
    with zipfile.ZipFile(file) as archive:
        root = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
        if root is None:
            raise Unreadable("it is a TorchScript archive without data")
        module = _Reader(archive, root.removesuffix(".pkl"), archive.read(root)).load()
    found: dict[str, Tensor] = {}
    _collect(module, "", found, 0)
    return found


class _Object:
    """Stands for an object of the archive's own classes: what it holds, and none of what it does."""

    held: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        self.held = state if isinstance(state, dict) else {}


class _Reader(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, folder: str, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in KINDS:
            return KINDS[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module.startswith("__torch__"):
            return _Object
        if module == "torch.jit._pickle":
            return _first
        raise Unreadable(f"it holds {module}.{name}, which is no weight")

    def persistent_load(self, pid: Any) -> tuple[bytes, torch.dtype]:
        _, kind, key, _, _ = pid
        return self._archive.read(f"{self._folder}/{key}"), kind

    def _tensor(self, storage: Any, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
        content, kind = storage
        flat = torch.frombuffer(bytearray(content), dtype=kind) if content else torch.empty(0, dtype=kind)
        if min((offset, *size, *stride), default=0) < 0 or len(size) != len(stride):
            raise Unreadable("it holds a tensor of an impossible shape")
        last = offset + sum((length - 1) * step for length, step in zip(size, stride))
        if math.prod(size) and last >= len(flat):
            raise Unreadable("it holds a tensor that is not whole")
        return flat.as_strided(tuple(size), tuple(stride), offset).clone()


def _first(value: Any, *_: object) -> Any:
    """Stand for the functions that give a list its type."""
    return value


def _collect(value: Any, name: str, found: dict[str, Tensor], depth: int) -> None:
    if isinstance(value, _Object) and depth < DEEPEST:
        for key, part in value.held.items():
            _collect(part, f"{name}.{key}" if name else str(key), found, depth + 1)
    elif isinstance(value, Tensor) and name:
        found[name] = value
