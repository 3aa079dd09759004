"""What training shows while it runs: TensorBoard, where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from edgegan.files import storage_errors


class Board(Protocol):
    """What is used of a `SummaryWriter`."""

    def add_image(self, tag: str, img_tensor: Any, global_step: int, *, dataformats: str) -> None:
        """Show an image of a step."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Show a figure of a step."""

    def close(self) -> None:
        """Write what is left."""


class _NoBoard:
    def add_image(self, tag: str, img_tensor: Any, global_step: int, *, dataformats: str) -> None: ...

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def close(self) -> None: ...


def open_board(folder: Path, step: int) -> Board:
    """Return TensorBoard's writer into `folder`, without what it has from `step` on, or one that is mute.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        return _NoBoard()
    with storage_errors(folder):
        return SummaryWriter(str(folder), purge_step=step)
