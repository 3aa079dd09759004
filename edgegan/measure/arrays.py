"""Checks of the arrays that are measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError


def check_features(features: NDArray[Any], what: str = "the features") -> NDArray[np.float64]:
    """Return `features` (N, D) as float64.

    Raises:
        DataError: not two axes, fewer than two rows, or NaN or infinity in it.
    """
    features = np.asarray(features)
    if features.ndim != 2 or features.shape[1] == 0:
        raise DataError(f"{what} must have shape (N, D), not {features.shape}")
    if len(features) < 2:
        raise DataError(f"{what} must hold at least 2 rows, not {len(features)}")
    features = features.astype(np.float64)
    if not np.isfinite(features).all():
        rows = np.flatnonzero(~np.isfinite(features).all(axis=1))
        raise DataError(
            f"{what} hold NaN or infinity in {len(rows)} of {len(features)} rows, row {rows[0]} the first",
            next="look at the images that these rows come from, and at the model that made them",
        )
    return features


def check_same_width(features: NDArray[Any], reference: NDArray[Any]) -> None:
    """Raise `DataError` where the last axes differ: the two come from different extractors."""
    if features.shape[-1] != reference.shape[-1]:
        raise DataError(
            f"the features have {features.shape[-1]} dimensions, the reference has {reference.shape[-1]}",
            next="compute both with the same feature extractor",
        )


def check_images(images: NDArray[Any], what: str = "images") -> NDArray[np.uint8]:
    """Return `images` as they are.

    Raises:
        DataError: they are not uint8 of shape (N, height, width, 1 or 3).
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise DataError(
            f"{what} must be uint8 of shape (N, height, width, 1 or 3), not {images.dtype} of {images.shape}"
        )
    return images


def check_pair(a: NDArray[Any], b: NDArray[Any]) -> None:
    """Raise `DataError` where the two are not uint8 NHWC batches of one shape, of at least 2 images."""
    check_images(a, "the first images")
    check_images(b, "the second images")
    if a.shape != b.shape:
        raise DataError(f"the images must come in pairs of one shape, not {a.shape} and {b.shape}")
    if len(a) < 2:
        raise DataError(f"at least 2 pairs of images are needed for an interval, not {len(a)}")
