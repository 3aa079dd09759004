"""What a killed distillation resumes from, and how it knows that this was the same distillation."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from edgegan.adversarial.state import Holder, load_state, save_state
from edgegan.files import remove, write_text
from edgegan.reading import Unreadable, read_text


def fingerprint(module: nn.Module) -> str:
    """Return the SHA-256 of the names, shapes and bytes of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Checkpoint:
    """The last state kept in `folder`; one that a distillation of another `key` left there does not count."""

    def __init__(self, folder: Path, key: str) -> None:
        self.state, self._key_file, self._key = (
            folder / "checkpoint.safetensors",
            folder / "checkpoint.key",
            key,
        )

    def load(self, parts: dict[str, Holder]) -> int:
        """Fill `parts` and return the number of steps done, or return 0 where there is nothing to resume."""
        if not self.state.exists() or self._read_key() != self._key:
            return 0
        return load_state(self.state, parts)

    def save(self, parts: dict[str, Holder], step: int) -> None:
        """Keep `parts`, after `step` steps, atomically.

        Raises:
            StorageError: the folder cannot be written.
        """
        if self._read_key() != self._key:
            remove(self.state)
            write_text(self._key_file, self._key)
        save_state(self.state, parts, step)

    def remove(self) -> None:
        """Delete the files, which a finished distillation needs no more."""
        remove(self.state)
        remove(self._key_file)

    def _read_key(self) -> str | None:
        try:
            return read_text(self._key_file)
        except Unreadable:
            return None
