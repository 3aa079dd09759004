"""The inputs and outputs that architectures have, and what an architecture is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from edgegan.runtime.contract import Contract, Input, Output, Sample


@dataclass(frozen=True)
class Architecture:
    """A public design in a small size: where it is from, how it is built, what it takes and gives."""

    name: str
    paper: str
    build: Callable[[], nn.Module]
    contract: Contract


def latent(*shape: int, name: str = "z") -> Input:
    return Input(name, shape)


def label(classes: int = 10, name: str = "label") -> Input:
    return Input(name, (), "int64", Sample("labels", classes=classes))


def between(low: float, high: float, *shape: int, name: str) -> Input:
    return Input(name, shape, sample=Sample("uniform", low, high))


def picture(size: int = 32, channels: int = 3, name: str = "picture") -> Input:
    return between(-1.0, 1.0, channels, size, size, name=name)


def image(size: int = 32, channels: int = 3, name: str = "image", reach: float = 1.0) -> Output:
    return Output(name, (channels, size, size), (-reach, reach))


def values(*shape: int, name: str, low: float = -1.0, high: float = 1.0) -> Output:
    return Output(name, shape, (low, high), "")


def contract(*ports: Input | Output) -> Contract:
    return Contract(
        tuple(port for port in ports if isinstance(port, Input)),
        tuple(port for port in ports if isinstance(port, Output)),
    )
