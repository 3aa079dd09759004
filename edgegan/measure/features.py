"""Features of images, and the file that keeps the features of the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError
from edgegan.files import atomic_path, sha256
from edgegan.measure.arrays import check_images
from edgegan.measure.metrics.fid import Statistics
from edgegan.reading import LARGEST_ARRAYS, Unreadable, open_npz
from edgegan.runtime.engines.registry import open_artifact

_BATCH = 128
_LARGEST = LARGEST_ARRAYS // 2
_KEYS = ("mean", "covariance", "n", "features", "extractor", "description")


class Extractor(Protocol):
    """What turns images into the features that FID, KID, precision and recall compare."""

    @property
    def name(self) -> str:
        """The extractor's file name and the first 8 digits of its SHA-256, as figures cite it."""
        ...

    @property
    def sha256(self) -> str:
        """The SHA-256 of the extractor's file, 64 hexadecimal digits."""
        ...

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features (N, D) of `images`, uint8 (N, height, width, channels)."""
        ...


class OnnxExtractor:
    """An ONNX file with one input `images`, uint8 NHWC, and one output `features`, float32 (N, D).

    Args:
        path: the file.
        threads: as for the engine; by default one for each processor.

    Raises:
        DataError: the file is absent, or has other inputs or outputs.
        ModelError: ONNX Runtime cannot load it.
        MissingDependency: onnxruntime is not installed.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        if not path.is_file():
            raise DataError(
                "the feature extractor is absent",
                where=str(path),
                next="make one with `edgegan train-features DATA`, or correct quality.features in the recipe",
            )
        self.sha256 = sha256(path)
        self.name = f"{path.name} {self.sha256[:8]}"
        self._where = str(path)
        self._engine = open_artifact(path, threads=threads)
        inputs = {name: port.dtype for name, port in self._engine.inputs.items()}
        outputs = {name: port.dtype for name, port in self._engine.outputs.items()}
        if inputs != {"images": "uint8"} or outputs != {"features": "float32"}:
            raise DataError(
                "a feature extractor takes uint8 'images' and gives float32 'features'; "
                f"this file takes {inputs} and gives {outputs}",
                where=self._where,
            )

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features (N, D) of `images`, uint8 NHWC, computed in batches.

        Raises:
            DataError: not uint8 NHWC, no images at all, or NaN or infinity in the features.
            ModelError: the extractor does not take images of this size.
        """
        check_images(images)
        if len(images) == 0:
            raise DataError("there are no images to take features of")
        parts = [
            self._engine({"images": np.ascontiguousarray(images[start : start + _BATCH])})["features"]
            for start in range(0, len(images), _BATCH)
        ]
        features = np.concatenate(parts)
        if features.ndim != 2 or len(features) != len(images) or not np.isfinite(features).all():
            raise DataError(
                f"the extractor gave {features.shape} for {len(images)} images, or NaN or infinity",
                where=self._where,
                next="check that its output 'features' is finite and has shape (N, D)",
            )
        return features


@dataclass(frozen=True, eq=False)
class Reference:
    """What is kept of the real images: statistics of all of them, and the features of some.

    The file is `.npz`, without pickle: `mean` (D,) and `covariance` (D, D) float64, `n` int64, `features` (M,
    D) float16 or float32, `extractor` (SHA-256) and `description` as strings.
    """

    statistics: Statistics
    features: NDArray[Any]
    """Features of M of the images, for KID, precision and recall."""
    extractor: str
    """SHA-256 of the extractor that all this comes from."""
    description: str

    @classmethod
    def of(
        cls, features: NDArray[Any], *, extractor: Extractor, kept: NDArray[np.integer[Any]], description: str
    ) -> Reference:
        """Return a reference from the `features` (N, D) of all images, keeping the rows `kept` in half
        precision.

        Raises:
            DataError: NaN or infinity in the features, or values that half precision cannot hold.
        """
        statistics = Statistics.of(features)
        rows = np.asarray(features)[kept]
        if len(rows) and np.abs(rows).max() > np.finfo(np.float16).max:
            raise DataError(
                "the features are too large to keep in half precision", next="scale them in the extractor"
            )
        return cls(statistics, rows.astype(np.float16), extractor.sha256, description)

    def save(self, path: Path) -> None:
        """Write the reference to `path`, atomically.

        Raises:
            StorageError: the file cannot be written.
        """
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                mean=self.statistics.mean,
                covariance=self.statistics.covariance,
                n=np.int64(self.statistics.n),
                features=self.features,
                extractor=np.str_(self.extractor),
                description=np.str_(self.description),
            )

    @classmethod
    def load(cls, path: Path, extractor: Extractor) -> Reference:
        """Read a reference that was made with `extractor`.

        Raises:
            DataError: the file is absent, damaged, not a reference, or comes from another extractor.
        """
        arrays = _read(path)
        _check(arrays, path)
        made_with = str(arrays["extractor"])
        if made_with != extractor.sha256:
            raise DataError(
                f"the reference comes from another extractor ({made_with[:8]}) than {extractor.name}",
                where=str(path),
                next="take the extractor that it was made with, or make both with `edgegan train-features`",
            )
        statistics = Statistics(arrays["mean"], arrays["covariance"], int(arrays["n"]))
        return cls(statistics, arrays["features"], made_with, str(arrays["description"]))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if not path.exists():
        raise DataError(
            "the reference statistics are absent",
            where=str(path),
            next="make them with `edgegan train-features DATA`, or correct quality.reference in the recipe",
        )
    try:
        with open_npz(path, _LARGEST) as file:
            if set(file.entries) != set(_KEYS):
                raise Unreadable(f"must hold {list(_KEYS)}, not {sorted(file.entries)[: len(_KEYS)]}")
            return file.arrays(_KEYS)
    except Unreadable as error:
        raise _damaged(path, f"cannot be read: {error}") from error


def _check(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    mean, covariance, features = arrays["mean"], arrays["covariance"], arrays["features"]
    for key in ("mean", "covariance", "features"):
        if arrays[key].dtype.kind != "f" or not np.isfinite(arrays[key]).all():
            raise _damaged(path, f"{key} must hold finite floating-point numbers")
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise _damaged(path, f"mean {mean.shape} and covariance {covariance.shape} do not fit each other")
    with np.errstate(over="ignore"):
        asymmetry = np.abs(covariance - np.transpose(covariance)).max(initial=0.0)
    if asymmetry > 1e-6 * np.abs(covariance).max(initial=0.0):
        raise _damaged(path, "the covariance is not symmetric")
    if features.ndim != 2 or features.shape[1] != len(mean):
        raise _damaged(path, f"features {features.shape} do not fit mean {mean.shape}")
    if len(mean) == 0:
        raise _damaged(path, "it is of no features")
    if arrays["n"].dtype.kind not in "iu" or arrays["n"].shape != () or arrays["n"] < 2:
        raise _damaged(path, "n must be one integer of 2 or more")
    for key in ("extractor", "description"):
        if arrays[key].dtype.kind != "U" or arrays[key].shape != ():
            raise _damaged(path, "extractor and description must be strings")


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"the reference statistics cannot be used: {what}",
        where=str(path),
        next="make them anew with `edgegan train-features DATA`",
    )
