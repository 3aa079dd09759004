"""Where feature maps of teacher and student can be compared, found on any `nn.Module` by forward hooks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Tap:
    """A feature map that both networks have: the output of the module `name`."""

    name: str
    channel_axis: int
    """Axis of the channels: the only one whose size may differ."""
    student_width: int
    teacher_width: int


def outputs_of(result: Any) -> tuple[Tensor, ...]:
    """Return what a module gave as a tuple, in the order of the contract's outputs."""
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


@contextmanager
def recording(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Keep the outputs of the sub-modules `names` of each forward pass in the dictionary that this gives.

    A name is absent where its module was not called, and holds `None` where it was called more than once.
    """
    outputs: dict[str, Any] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            outputs[name] = None if name in outputs else output

        return hook

    handles = [module.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def blocks(module: nn.Module, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the outputs of the network's outermost blocks that are feature maps, in the order of the calls.

    A block has a parameter of two or more axes, is called once, and gives one tensor of three or more axes
    that is not of the shape of the network's own output. What is not such, and `nn.Sequential`, is
    opened, and its children are looked at. Of networks without any, which are fully connected, tensors
    (N, features) count.
    """
    names = [name for name, _ in module.named_modules() if name]
    with recording(module, names) as outputs, torch.no_grad():
        result = module(*inputs)
    finals = outputs_of(result)
    final = {shape for output in finals for shape in (output.shape, output.reshape(len(output), -1).shape)}
    maps = _blocks(module, outputs, final, axes=3) or _blocks(module, outputs, final, axes=2)
    return {name: output for name, output in outputs.items() if name in maps}


def _blocks(
    module: nn.Module, outputs: Mapping[str, Any], final: Collection[torch.Size], axes: int
) -> set[str]:
    """Return the names of the blocks that give `axes` axes or more, of none of the shapes `final`."""

    def is_block(child: nn.Module, output: Any) -> bool:
        return (
            isinstance(output, Tensor)
            and output.ndim >= axes
            and output.shape not in final
            and not isinstance(child, nn.Sequential)
        )

    def walk(parent: nn.Module, prefix: str) -> Iterator[str]:
        for key, child in parent.named_children():
            name = f"{prefix}{key}"
            if is_block(child, outputs.get(name)):
                if any(parameter.ndim >= 2 for parameter in child.parameters()):
                    yield name
            else:
                yield from walk(child, f"{name}.")

    return set(walk(module, ""))


def find_taps(student: nn.Module, teacher: nn.Module, inputs: Sequence[Tensor], limit: int) -> list[Tap]:
    """Return up to `limit` taps, in the order of the calls; none where the networks share no feature map.

    Of the blocks that both have under one name with maps of one size, the largest (by the teacher's
    parameters) at each size is taken; places left over go to the blocks farthest from those, by order.
    """
    ours, theirs = blocks(student, inputs), blocks(teacher, inputs)
    taps: list[Tap] = []
    places: list[tuple[int, ...]] = []
    for name, features in theirs.items():
        axis = _channel_axis(ours[name].shape, features.shape) if name in ours else None
        if axis is not None:
            taps.append(Tap(name, axis, ours[name].shape[axis], features.shape[axis]))
            places.append(tuple(size for index, size in enumerate(features.shape) if index != axis))
    sizes = [sum(p.numel() for p in teacher.get_submodule(tap.name).parameters()) for tap in taps]
    largest = [
        max((index for index, other in enumerate(places) if other == place), key=lambda i: (sizes[i], i))
        for place in dict.fromkeys(places)
    ]
    chosen = _spread(sorted(largest), limit)
    while len(chosen) < min(limit, len(taps)):
        chosen.append(max(range(len(taps)), key=lambda i: min(abs(i - other) for other in chosen)))
    return [taps[index] for index in sorted(chosen)]


def _channel_axis(a: torch.Size, b: torch.Size) -> int | None:
    if len(a) != len(b):
        return None
    different = [index for index, (x, y) in enumerate(zip(a, b)) if x != y]
    usual = 2 if len(a) == 3 else 1
    if not different:
        return usual
    allowed = {1, 2} if len(a) == 3 else {1}
    return different[0] if len(different) == 1 and different[0] in allowed else None


def _spread(items: list[int], n: int) -> list[int]:
    """Return `n` of `items` at even distances, the last among them."""
    if n >= len(items):
        return items
    return [items[(index + 1) * len(items) // n - 1] for index in range(n)]
