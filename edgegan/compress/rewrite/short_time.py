"""Short-time Fourier transforms, and their inverse, as transforms of frames in real numbers.

Where the length is free they are convolutions with constant kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node

from edgegan.compress.rewrite.nodes import add_constant, argument, aten, constant, shape, traced

if TYPE_CHECKING:
    from edgegan.compress.rewrite.fourier import _Writer


def knows(writer: _Writer, node: Node, longest: int) -> bool:
    """Whether `stft` or `istft` can write `node`: of half the frequencies, with a constant window."""
    inverse = node.target == aten.istft.default
    size, window = node.args[1], argument(node, 4, "window")
    sizes = shape(node.args[0])
    if not isinstance(size, int) or size > longest or len(sizes) != 2 + inverse:
        return False
    if window is not None and constant(writer.graph, window) is None:
        return False
    if argument(node, 7 if inverse else 6, "onesided") is False:
        return False
    if not inverse:
        return not argument(node, 8, "align_to_window") and (sizes[1] < 0 or sizes[1] >= size)
    start, end, total = _span(node, size, traced(node.args[0])[2])
    if sizes[2] < 0:
        return not argument(node, 9, "return_complex") and 0 <= start < end <= total + size
    return not argument(node, 9, "return_complex") and 0 <= start < end <= total


def stft(writer: _Writer, node: Node) -> Any:
    """Write frames of (N, samples), windowed and transformed, as a pair of (N, frequencies, frames)."""
    x, size, hop = node.args[0], int(node.args[1]), _hop(node)  # pyright: ignore
    assert isinstance(x, Node)
    if shape(x)[1] < 0:
        return _free_stft(writer, node, x)
    samples, parts = shape(x)[1], -(-size // hop)
    frames = 1 + (samples - size) // hop
    x = writer.call(aten.constant_pad_nd.default, x, [0, max(0, (frames + parts - 1) * hop - samples)])
    shifted = [
        writer.call(
            aten.unflatten.int,
            writer.call(aten.slice.Tensor, x, 1, part * hop, (part + frames) * hop),
            1,
            [frames, hop],
        )
        for part in range(parts)
    ]
    framed = writer.call(aten.slice.Tensor, writer.call(aten.cat.default, shifted, 2), 2, 0, size)
    framed = writer.call(aten.mul.Tensor, framed, _stored(writer, _window(writer, node, size)))
    framed = writer.call(aten.transpose.int, framed, 1, 2)
    return writer.along(framed, 1, 3, size, "r", _norm(node, 5), True)


def istft(writer: _Writer, node: Node) -> Node:
    """Write the overlapped frames of a pair (N, frequencies, frames) as (N, samples)."""
    source, size, hop = node.args[0], int(node.args[1]), _hop(node)  # pyright: ignore
    assert isinstance(source, Node)
    pair = writer.pairs.get(source, (source, 0))
    if shape(source)[2] < 0:
        return _free_istft(writer, node, writer.tensors(pair))
    frames, parts = shape(source)[2], -(-size // hop)
    x = writer.along(tuple(writer.tensors(pair)), 1, 3, size, "ir", _norm(node, 6), True)
    window = _window(writer, node, size)
    x = writer.call(aten.mul.Tensor, x, _stored(writer, window[:, None]))
    x = writer.call(aten.constant_pad_nd.default, x, [0, 0, 0, parts * hop - size])
    total: Any = 0
    for part in range(parts):
        piece = writer.call(aten.slice.Tensor, x, 1, part * hop, (part + 1) * hop)
        pads = [part, parts - 1 - part]
        total = writer.sum(total, writer.call(aten.constant_pad_nd.default, piece, pads))
    wave = writer.call(aten.flatten.using_ints, writer.call(aten.transpose.int, total, 1, 2), 1, 2)
    start, end, length = _span(node, size, frames)
    weight = torch.zeros(length)
    for frame in range(frames):
        weight[frame * hop : frame * hop + size] += window.square()
    wave = writer.call(aten.slice.Tensor, wave, 1, start, end)
    return writer.call(aten.mul.Tensor, wave, _stored(writer, 1 / weight[start:end]))


def _free_stft(writer: _Writer, node: Node, x: Node) -> Any:
    size, bins = int(node.args[1]), int(node.args[1]) // 2 + 1  # pyright: ignore
    kernel = torch.view_as_real(torch.fft.rfft(torch.eye(size).double(), norm=_norm(node, 5)))
    kernel = (kernel * _window(writer, node, size)[:, None, None]).permute(2, 1, 0).reshape(2 * bins, 1, size)
    waves = writer.call(aten.unsqueeze.default, x, 1)
    both = writer.call(aten.conv1d.default, waves, _stored(writer, kernel.float()), None, [_hop(node)])
    return tuple(writer.call(aten.slice.Tensor, both, 1, low, low + bins) for low in (0, bins))


def _free_istft(writer: _Writer, node: Node, pair: list[Node]) -> Node:
    size, hop, window = int(node.args[1]), _hop(node), _window(writer, node, int(node.args[1]))  # pyright: ignore
    parts = torch.eye(size // 2 + 1, dtype=torch.complex128)
    kernel = torch.cat([torch.fft.irfft(part * parts, size, norm=_norm(node, 6)) for part in (1, 1j)])

    def overlapped(frames: Any, kernel: Tensor) -> Any:
        stored = _stored(writer, kernel.float()[:, None])
        return writer.call(aten.conv_transpose1d.default, frames, stored, None, [hop])

    wave = overlapped(writer.call(aten.cat.default, pair, 1), kernel * window)
    one = writer.call(aten.full_like.default, writer.call(aten.slice.Tensor, pair[0], 1, 0, 1), 1.0)
    weight = overlapped(one, window.square()[None])
    start, length = size // 2 if argument(node, 5, "center", True) else 0, argument(node, 8, "length")
    if length is None:
        end = -start if start else None
    else:  # torch fills up with zeros
        wave = writer.call(aten.constant_pad_nd.default, wave, [0, size])
        weight = writer.call(aten.constant_pad_nd.default, weight, [0, size], 1.0)
        end = start + length
    wave, weight = (writer.call(aten.slice.Tensor, x, 2, start, end) for x in (wave, weight))
    return writer.call(aten.select.int, writer.call(aten.div.Tensor, wave, weight), 1, 0)


def _norm(node: Node, place: int) -> str:
    return "ortho" if argument(node, place, "normalized") else "backward"


def _hop(node: Node) -> int:
    return int(argument(node, 2, "hop_length") or int(node.args[1]) // 4)  # pyright: ignore


def _window(writer: _Writer, node: Node, size: int) -> Tensor:
    """Return the window, in the middle of a frame."""
    length = argument(node, 3, "win_length") or size
    window = constant(writer.graph, argument(node, 4, "window"))
    window = torch.ones(length) if window is None else window.detach().float()
    left = (size - length) // 2
    return torch.nn.functional.pad(window, (left, size - length - left))


def _span(node: Node, size: int, frames: int) -> tuple[int, int, int]:
    """Return where the samples that are kept begin and end, and how many the frames make."""
    total = size + _hop(node) * (frames - 1)
    centred, length = argument(node, 5, "center", True), argument(node, 8, "length")
    start = size // 2 if centred else 0
    return start, (start + length if length else total - start), total


def _stored(writer: _Writer, value: Tensor) -> Node:
    return add_constant(writer.graph, "fourier.weight", value)
