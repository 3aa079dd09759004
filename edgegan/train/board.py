"""What training shows while it runs: a log, and TensorBoard where that is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from edgegan.files import storage_errors
from edgegan.learning.log import Log


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


class BoardLog(Log):
    """The log `log.jsonl` in `folder`, and TensorBoard's in `tensorboard` under it."""

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        super().__init__(folder / "log.jsonl", writes=writes)
        self.board: Board = _NoBoard()

    def resume(self, done: int) -> None:
        """Take up what there is up to step `done`."""
        super().resume(done)
        if self.writes:
            self.board = _open_board(self.path.with_name("tensorboard"), done + 1)

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Add a row and show it."""
        super().add(step, figures)
        for name, value in figures.items():
            self.board.add_scalar(name, value, step)


def _open_board(folder: Path, step: int) -> Board:
    """Return TensorBoard's writer into `folder`, without what it has from `step` on, or one that is mute."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        return _NoBoard()
    with storage_errors(folder):
        return SummaryWriter(str(folder), purge_step=step)
