"""Sounds: a folder or a zip of `.wav` files."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError
from edgegan.reading import Unreadable, refusing
from edgegan.train.data import opened_files

KINDS = "give a folder or a zip of .wav files of 16-bit PCM"


def read_sounds(path: Path, sample_rate: int) -> list[NDArray[np.float32]]:
    """Read waveforms (samples,) from -1 to 1, in the order of their names; channels are averaged.

    Raises:
        DataError: there are none, one cannot be read, or is of another rate than `sample_rate` Hz.
    """
    with opened_files(path, (".wav",), KINDS) as files:
        if not files:
            raise DataError("no sounds found", where=str(path), next=KINDS)
        waves = []
        for name, content in files:
            with refusing(DataError, "this sound cannot be read", where=f"{path}: {name}", next=KINDS):
                waves.append(_decoded(content(), sample_rate))
    return waves


def _decoded(content: bytes, sample_rate: int) -> NDArray[np.float32]:
    with wave.open(io.BytesIO(content)) as file:
        width, rate, channels = file.getsampwidth(), file.getframerate(), file.getnchannels()
        frames = file.readframes(file.getnframes())
    if width != 2:
        raise Unreadable(f"it has {8 * width} bits a sample, not 16")
    if rate != sample_rate:
        raise Unreadable(f"its rate is {rate} Hz, and the contract's {sample_rate} Hz")
    levels = np.frombuffer(frames[: len(frames) // (2 * channels) * 2 * channels], "<i2")
    return levels.reshape(-1, channels).mean(1, dtype=np.float32) / np.float32(32768)
