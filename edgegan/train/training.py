"""Training of a teacher in a folder: its state, its log, and the weights at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from edgegan.files import storage_errors, write_bytes
from edgegan.learning import devices
from edgegan.learning.checkpoint import Checkpoint
from edgegan.learning.loop import Loop
from edgegan.learning.monitor import Monitor, Trouble, Watched
from edgegan.runtime.grid import write_png
from edgegan.train.board import BoardLog
from edgegan.train.settings import RunSettings

Progress = Callable[[int, int], None]


class Teaching(Watched, Protocol):
    """An algorithm whose result is a generator."""

    seed: int

    def finish(self) -> nn.Module:
        """Return the averaged generator, with its own statistics."""
        ...


class Training:
    """A training run in `folder`; subclasses say what is observed on the way, and what is kept at the end.

    Args:
        algorithm: what a step is.
        settings: how long it takes, and what is logged.
        folder: of the run.
        fabric: the processes.
    """

    def __init__(self, algorithm: Teaching, settings: RunSettings, folder: Path, fabric: Fabric) -> None:
        self._algorithm, self._settings, self.folder, self.fabric = algorithm, settings, folder, fabric
        self.log = BoardLog(folder, writes=fabric.is_global_zero)
        self._monitor = Monitor(algorithm, folder)

    def run(self, progress: Progress = lambda done, total: None) -> None:
        """Train to the end, then write the weights as `<network>.safetensors`.

        Training goes on from the folder's state where it has one. A signal that ends the process is held back
        until the step is done and its state is kept.

        Raises:
            StageError: a loss is no longer finite.
            CheckpointError: the state is damaged, or of other networks.
            StorageError: a file cannot be written.
        """
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        loop = Loop(
            self._algorithm,
            self.fabric,
            steps=self._settings.steps,
            seed=self._algorithm.seed,
            checkpoint=Checkpoint(self.folder / "state", newer=["window", "monitor"]),
            log=self.log,
            log_every=self._settings.log_every,
            keep=True,
            observe=self._observe,
            monitor=self._monitor,
        )
        with devices.arithmetic(deterministic=True):
            loop.run(progress)
            self._algorithm.finish()
        self.log.board.close()
        if self.fabric.is_global_zero:
            self._write()

    @property
    def troubles(self) -> list[Trouble]:
        """What the monitor saw, and did about it."""
        return self._monitor.troubles

    @property
    def score_names(self) -> list[str]:
        """What figures are called in the log, the main one first; none where nothing is scored."""
        return []

    def _observe(self, step: int) -> dict[str, float]:
        """Return figures for the log, after each step; mostly none."""
        raise NotImplementedError

    def _networks(self) -> Mapping[str, nn.Module]:
        """Return what is kept at the end, by name."""
        raise NotImplementedError

    def _show(self, step: int, grid: NDArray[np.uint8]) -> None:
        """Write samples of a step as a picture (H, W, 3), and show it on the board."""
        write_png(self.folder / "samples" / f"{step:07d}.png", grid)
        self.log.board.add_image("samples", grid, step, dataformats="HWC")

    def _due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self._settings.steps

    def _write(self) -> None:
        for name, module in self._networks().items():
            tensors = {key: self._kept(value) for key, value in module.state_dict().items()}
            write_bytes(self.folder / f"{name}.safetensors", save(tensors))

    def _kept(self, tensor: Tensor) -> Tensor:
        half = self._settings.half and tensor.is_floating_point()
        return (tensor.half() if half else tensor).detach().cpu().contiguous()
