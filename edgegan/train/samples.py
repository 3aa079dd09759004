"""What generators are trained on: images, or for outputs of other modalities an `.npz` of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError
from edgegan.learning.stored import class_axis
from edgegan.reading import open_npz, refusing
from edgegan.runtime.contract import Output
from edgegan.runtime.modality import Image, Video
from edgegan.train.data import LabelledImages, flat_labels, read_images

HELD = (
    "train_samples (N, *the output's shape) in float32; of video in uint8; of maps of classes and tokens ids "
    "(N, *places)"
)


@dataclass(frozen=True)
class Samples:
    """Real samples as they are stored, and their labels.

    `values` are uint8 (N, C, H, W) for images, uint8 in the output's shape for video, ids (N, *places) for
    maps of classes and tokens, and for all else float32 as the generator gives them; `labels` are int64 (N,),
    indices into `classes`.
    """

    values: NDArray[Any]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    @classmethod
    def of_images(cls, data: LabelledImages) -> Samples:
        """Return labelled images as samples."""
        return cls(data.images.transpose(0, 3, 1, 2), data.labels, data.classes)

    def check(self, output: Output) -> None:
        """Raise `DataError` unless these can stand where a generator's `output` does."""
        axis, shape = class_axis(output), self.values.shape[1:]
        wanted = output.shape if axis is None else output.shape[:axis] + output.shape[axis + 1 :]
        if shape != wanted:
            raise DataError(f"the samples are {shape}, the contract wants {wanted}")
        if isinstance(output.modality, (Image, Video)):
            return
        low, high = output.range if axis is None else (0, output.shape[axis] - 1)
        if not low <= self.values.min() <= self.values.max() <= high:
            raise DataError(
                f"the samples reach from {self.values.min():g} to {self.values.max():g}, "
                f"the contract's output from {low:g} to {high:g}",
                next="scale the samples, or correct the output's range",
            )


def read_samples(path: Path, output: Output) -> Samples:
    """Read what a generator of `output` is trained on.

    Images as `read_images` does; all else from an `.npz` that holds `train_samples` and, where there are
    labels, `train_labels` (N,).

    Raises:
        DataError: nothing there, or it cannot be read or does not fit the output.
    """
    if isinstance(output.modality, Image):
        channels, height, width = output.shape
        return Samples.of_images(read_images(path, (channels, height, width)))
    with (
        refusing(DataError, "the samples cannot be read", where=str(path), next=f"give an .npz of {HELD}"),
        open_npz(path) as archive,
    ):
        names = tuple(name for name in ("train_samples", "train_labels") if name in archive.entries)
        arrays = archive.arrays(names)
    values = arrays.get("train_samples", np.empty(0))
    video, whole = isinstance(output.modality, Video), class_axis(output) is not None
    fits = values.dtype == np.uint8 if video else values.dtype.kind in ("iu" if whole else "f")
    if not values.size or not fits or not np.isfinite(values).all():
        raise DataError(
            f"the archive holds no samples of {output.modality.kind}",
            where=str(path),
            next=f"give {HELD}",
        )
    labels = flat_labels(arrays.get("train_labels", np.zeros(len(values), np.int64)), len(values), path)
    classes = tuple(str(number) for number in range(int(labels.max()) + 1))
    samples = Samples(values if whole or video else values.astype(np.float32), labels, classes)
    samples.check(output)
    return samples
