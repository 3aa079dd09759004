"""The sizes of pictures, and lengths of series, that a network's own tensors and settings decide."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

Size = tuple[int, ...]

LEAST, MOST = 16, 1024
TOKENS = re.compile(r"(?!.*rel).*(pos|token|quer|embed).*")
"""Names of tensors that have a row for each patch or step."""
OF_LAYERS = ("weight", "bias", "running_mean", "running_var")
SETTING = re.compile(
    r"(img|image|input|in|pic(ture)?|crop|frame|grid|patch(es)?|latent|spatial|feat(ure)?)?_?"
    r"(size|res(olution)?|shape|hw|grid)"
)


def token_counts(module: nn.Module) -> list[int]:
    """Return how many rows tensors have that hold one for each patch or step, the most usual first."""
    return list(dict.fromkeys(count for name, value in _own(module) for count in _rows(name, value)))


def tensor_sizes(module: nn.Module) -> list[Size]:
    """Return the sizes that a network's tensors are for: maps, grids of places, positions, windows' masks."""
    patch = _patch(module)
    found: list[Size] = []
    for name, value in _own(module):
        shape = tuple(value.shape)
        map_of = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
        if len(map_of) == 3 and map_of[-1] == 2:
            found.append((map_of[0], map_of[1]))
        elif len(map_of) == 3 and (len(shape) == 4 or shape[0] in (2, 3)):
            found.append((map_of[1], map_of[2]))
        sides = [math.isqrt(of) for of in shape[:2]]
        if len(shape) == 3 and shape[1] == shape[2] and [side**2 for side in sides] == [*shape[:2]]:
            found.append((patch * sides[0] * sides[1],) * 2)
        for count in _rows(name, value):
            for rows in (count, count - 1):
                if rows > 1 and math.isqrt(rows) ** 2 == rows:
                    found.append((patch * math.isqrt(rows),) * 2)
    return _likely(found)


def set_sizes(settings: Iterable[tuple[str, object]], module: nn.Module) -> list[Size]:
    """Return the sizes that a network's settings name, in pixels or in patches."""
    patch, found = _patch(module), list[Size]()
    for name, value in settings:
        pair = (value, value) if type(value) is int else value
        if not SETTING.fullmatch(name) or not isinstance(pair, (tuple, list)):
            continue
        if len(pair) == 2 and all(type(side) is int for side in pair):
            found += [(pair[0], pair[1]), (patch * pair[0], patch * pair[1])]
    return _likely(found)


def _own(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors that no layer of torch's holds, by the last part of their names."""
    named = (*module.named_parameters(), *module.named_buffers())
    for name, value in ((full.rpartition(".")[2], value) for full, value in named):
        if name not in OF_LAYERS and value.dim() > 1:
            yield name, value


def _rows(name: str, value: Tensor) -> list[int]:
    table = value.dim() == 2 or (value.dim() == 3 and value.shape[0] == 1)
    return [value.shape[-2]] if table and TOKENS.fullmatch(name) else []


def _patch(module: nn.Module) -> int:
    """Return how long and wide the patches are that a first convolution cuts a picture into; 1 where none."""
    layers = (layer for layer in module.modules() if isinstance(layer, _ConvNd))
    first = next(layers, None)
    cuts = first is not None and not isinstance(first, _ConvTransposeNd) and first.kernel_size == first.stride
    return first.stride[-1] if first is not None and cuts else 1


def _likely(sizes: Iterable[Size]) -> list[Size]:
    return list(dict.fromkeys(size for size in sizes if min(size) >= LEAST and max(size) <= MOST))
