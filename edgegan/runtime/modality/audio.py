"""Waveforms: floats in a model, int16 (N, samples, channels) for an app, and `.wav` files."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError
from edgegan.files import write_bytes
from edgegan.runtime.modality.base import Modality, clipped
from edgegan.runtime.modality.drawing import curves

if TYPE_CHECKING:
    from edgegan.runtime.contract import Output

PEAK = 32767
MOST_CHANNELS = 8
_RATES = 1, 768_000


@dataclass(frozen=True)
class Audio(Modality):
    """A waveform at `sample_rate` Hz; of shape (samples,), or (channels, samples) with up to 8 channels."""

    sample_rate: int

    kind: ClassVar[str] = "audio"
    files: ClassVar[tuple[str, ...]] = (".wav",)
    plays: ClassVar[str | None] = ".wav"
    one_a_file: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ("mel_distance", "stft_distance", "snr_db", "psnr_db")

    def __post_init__(self) -> None:
        low, high = _RATES
        if type(self.sample_rate) is not int or not low <= self.sample_rate <= high:
            raise InputError(
                f"sample_rate must be a whole number of Hz from {low} to {high}, not {self.sample_rate!r:.40}"
            )

    def check(self, spec: Output) -> None:
        """Raise `InputError` unless the shape is (samples,) or (1 to 8 channels, samples)."""
        if len(spec.shape) not in (1, 2) or (len(spec.shape) == 2 and spec.shape[0] > MOST_CHANNELS):
            raise self.refuse(spec, f"(samples,), or (channels, samples) with up to {MOST_CHANNELS} channels")

    def encode(self, array: NDArray[Any], spec: Output) -> NDArray[np.int16]:
        """Return int16 (N, samples, channels): -32767..32767 for the range, halves to even, clipped past it.

        Raises:
            InputError: a value is NaN or infinite.
        """
        low, high = spec.range
        values = clipped(array, spec.range, "waveforms") - np.float32((low + high) / 2)
        scaled = np.rint(values * np.float32(2 * PEAK / (high - low))).astype(np.int16)
        return np.ascontiguousarray(scaled.reshape(len(array), -1, spec.shape[-1]).transpose(0, 2, 1))

    def preview(self, array: NDArray[Any], spec: Output) -> NDArray[np.uint8]:
        """Return drawings of the waveforms."""
        return curves(array.transpose(0, 2, 1).astype(np.float32), -PEAK, PEAK)

    def shares(self, array: NDArray[Any], spec: Output) -> NDArray[np.float32]:
        """Return levels as shares of the range."""
        return ((array.astype(np.float32) + PEAK) / np.float32(2 * PEAK)).astype(np.float32)

    def write(self, path: Path, array: NDArray[Any], spec: Output) -> None:
        """Write one waveform (1, samples, channels) as a 16-bit PCM `.wav`."""
        content = io.BytesIO()
        with wave.open(content, "wb") as file:
            file.setnchannels(array.shape[2])
            file.setsampwidth(2)
            file.setframerate(self.sample_rate)
            file.writeframes(array[0].astype("<i2").tobytes())
        write_bytes(path, content.getvalue())
