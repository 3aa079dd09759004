"""Complex numbers as pairs of real ones, and Fourier transforms as products with constant matrices.

ONNX has few operators for complex numbers, and TensorRT no Fourier transform. Transforms of sound and of
features are short, so that a matrix of sines and cosines costs little.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import getitem
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from edgegan.compress.operators import REORDERS, RESHAPES
from edgegan.compress.rewrite import short_time
from edgegan.compress.rewrite.nodes import (
    add_constant,
    argument,
    aten,
    constant,
    evaluate,
    fixed,
    replace,
    shape,
)

OF_FRAMES: dict[Any, Callable[[Any, Node], Any]] = {
    aten.stft.default: short_time.stft,
    aten.istft.default: short_time.istft,
}
LONGEST = 4096
"""Of a transform: a matrix of more would weigh more than the time it saves."""
LINEAR = (
    *(*RESHAPES.torch, *REORDERS.torch, aten.squeeze.default, aten.expand.default, aten.clone.default),
    *(aten.contiguous.default, aten.slice.Tensor, aten.select.int, aten.flip.default, aten.roll.default),
    *(aten.cat.default, aten.stack.default, aten.constant_pad_nd.default, aten.neg.default),
    *(aten.movedim.int, aten.repeat.default, aten.expand_as.default, aten.index.Tensor, aten.alias.default),
    *(aten.detach.default, aten.detach_.default, aten.lift_fresh_copy.default, aten.cumsum.default),
    *(aten.sum.default, aten.sum.dim_IntList, aten.mean.default, aten.mean.dim, aten.unbind.int),
    *(aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default, getitem),
)
"""Operators that do to real and imaginary parts what they do to the whole."""
PRODUCTS = (aten.matmul.default, aten.bmm.default, aten.mm.default, aten.einsum.default)
"""Of two tensors."""
Pair = tuple[Any, Any]
"""Real and imaginary part: nodes, or numbers."""


def without_complex(graph: GraphModule) -> bool:
    """Write what is complex in real numbers; return whether there was any, and all of it could be.

    The graph then has to be traced anew.
    """
    known = ("call_function", "get_attr")
    nodes = [node for node in graph.graph.nodes if node.op in known and _meets_complex(node)]
    writer = _Writer(graph)
    if not nodes or not all(map(writer.knows, nodes)):
        return False
    for node in nodes:
        with graph.graph.inserting_before(node):
            result = writer.write(node)
        if isinstance(result, tuple):
            writer.pairs[node] = result
        else:
            replace(node, result)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return True


def has_complex(graph: GraphModule) -> bool:
    """Whether something complex was left, as what `without_complex` does not know is."""
    return any(map(_is_complex, graph.graph.nodes))


def _meets_complex(node: Node) -> bool:
    return any(_is_complex(one) for one in (node, *node.all_input_nodes))


def _is_complex(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_complex()


class _Writer:
    """Writes operators on complex values, of which `pairs` holds those that were written."""

    def __init__(self, graph: GraphModule) -> None:
        self.graph, self.pairs = graph, dict[Node, Pair]()
        self.fixed = fixed(graph)

    def knows(self, node: Node) -> bool:
        """Whether `write` can write `node`."""
        if node in self.fixed:
            return True
        if node.target in OF_FRAMES:
            return short_time.knows(self, node, LONGEST)
        if node.target in TRANSFORMS:
            return all(1 < length <= LONGEST for _, length in _lengths(node))
        return node.target in LINEAR or node.target in PRODUCTS or (node.target in WAYS and not node.kwargs)

    def write(self, node: Node) -> Any:
        """Return a pair, or the node of a real result."""
        if node in self.fixed:
            return self._computed(node)
        if node.target in OF_FRAMES:
            return OF_FRAMES[node.target](self, node)
        if node.target in TRANSFORMS:
            return self._transform(node)
        if node.target in LINEAR:
            return self._moved(node, 0), self._moved(node, 1)
        if node.target in PRODUCTS:
            return self._multiplied(node)
        result = WAYS[node.target](self, *(self._pair(one) for one in node.args))
        return self._broadcast(node, *result) if isinstance(result, tuple) else result

    def _computed(self, node: Node) -> Any:
        """Store a value that no input has a say in."""
        value = constant(self.graph, node) if node.op == "get_attr" else evaluate(self.graph, node, {})
        assert isinstance(value, Tensor)
        parts = [value.real, value.imag] if value.is_complex() else [value]
        stored = [add_constant(self.graph, "complex.weight", part.clone()) for part in parts]
        return tuple(stored) if value.is_complex() else stored[0]

    def _broadcast(self, node: Node, real: Any, imaginary: Any) -> Pair:
        """Return the parts of a sum; of a complex and a larger real value, both as large."""
        sources = [source for source in node.all_input_nodes if _is_complex(source)]
        alone = len(sources) == 1 and len(node.all_input_nodes) == 2
        if alone and shape(sources[0]) != shape(node) and isinstance(imaginary, Node):
            imaginary = self.call(aten.expand_as.default, imaginary, real)
        return real, imaginary

    def _multiplied(self, node: Node) -> Any:
        """Write a product of two as those of their parts."""
        one, other = (self._pair(source) for source in node.all_input_nodes)
        (a, b), (c, d) = (value if isinstance(value, tuple) else (value, 0) for value in (one, other))

        def times(x: Any, y: Any) -> Any:
            if not isinstance(x, Node) or not isinstance(y, Node):
                return 0
            parts = iter((x, y))
            return self.call(node.target, *map_arg(node.args, lambda _: next(parts)), **node.kwargs)

        return (
            self.sum(times(a, c), self.times(-1, times(b, d))),
            self.sum(times(a, d), times(b, c)),
        )

    def call(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        """Call an operator on nodes and numbers; a number where all are."""
        return self.graph.graph.call_function(target, args, kwargs)

    def _moved(self, node: Node, part: int) -> Any:
        several = node.target in (aten.cat.default, aten.stack.default)
        first = self.pairs.get(node.all_input_nodes[0], (0, 0))
        if not several and not isinstance(first[part], Node):
            return first[part]

        def moved(source: Node) -> Any:
            if source not in self.pairs and not several:
                return source
            pair = self.pairs.get(source, (source, 0))
            return self.filled(pair[part], pair[1 - part])

        args, kwargs = map_arg((node.args, node.kwargs), moved)
        return self.call(node.target, *args, **kwargs)

    def filled(self, value: Any, like: Node) -> Node:
        """Return a number as a tensor of the other part's shape."""
        return value if isinstance(value, Node) else self.call(aten.full_like.default, like, value)

    def _pair(self, value: Any) -> Any:
        """Return what is complex as a pair, all else as it is."""
        if isinstance(value, Node):
            return self.pairs.get(value, value)
        return (value.real, value.imag) if isinstance(value, complex) else value

    def product(self, one: Any, other: Any) -> Any:
        if not isinstance(one, tuple) and not isinstance(other, tuple):
            return self.times(one, other)
        (a, b), (c, d) = (value if isinstance(value, tuple) else (value, 0) for value in (one, other))
        return (
            self.sum(self.times(a, c), self.times(-1, self.times(b, d))),
            self.sum(self.times(a, d), self.times(b, c)),
        )

    def times(self, one: Any, other: Any) -> Any:
        if not isinstance(one, Node) and not isinstance(other, Node):
            return one * other
        one, other = (one, other) if isinstance(one, Node) else (other, one)
        if not isinstance(other, Node) and other in (0, 1):
            return one if other else 0
        return self.call(aten.mul.Tensor, one, other)

    def sum(self, one: Any, other: Any) -> Any:
        if not isinstance(one, Node) and not isinstance(other, Node):
            return one + other
        one, other = (one, other) if isinstance(one, Node) else (other, one)
        return one if not isinstance(other, Node) and other == 0 else self.call(aten.add.Tensor, one, other)

    def total(self, one: Any, other: Any, sign: int = 1) -> Pair:
        """Return one + sign * other."""
        (a, b), (c, d) = (value if isinstance(value, tuple) else (value, 0) for value in (one, other))
        return self.sum(a, self.times(sign, c)), self.sum(b, self.times(sign, d))

    def quotient(self, one: Any, other: Any) -> Pair:
        if not isinstance(other, tuple):
            a, b = one
            return tuple(self.call(aten.div.Tensor, self.filled(x, y), other) for x, y in ((a, b), (b, a)))
        c, d = other
        squares = self.sum(self.times(c, c), self.times(d, d))
        a, b = self.product(one, (c, self.times(-1, d)))
        return tuple(self.call(aten.div.Tensor, self.filled(x, squares), squares) for x in (a, b))

    def size(self, pair: Pair) -> Any:
        squares = self.sum(self.times(pair[0], pair[0]), self.times(pair[1], pair[1]))
        return self.call(aten.sqrt.default, squares)

    def tensors(self, pair: Pair) -> list[Node]:
        return [self.filled(pair[part], pair[1 - part]) for part in (0, 1)]

    def exp(self, value: Any) -> Any:
        return self.call(aten.exp.default, value) if isinstance(value, Node) else math.exp(value)

    def polar(self, length: Any, angle: Any) -> Pair:
        return tuple(
            self.times(length, self.call(way, angle)) for way in (aten.cos.default, aten.sin.default)
        )

    def _transform(self, node: Node) -> Any:
        source, *_ = node.args
        assert isinstance(source, Node)
        kind, axes = TRANSFORMS[node.target], _lengths(node)
        value: Any = self.pairs.get(source, source)
        norm = argument(node, 3, "norm") or "backward"
        rank = source.meta["val"].dim()
        order = axes if kind.startswith("i") else axes[::-1]
        for index, (axis, length) in enumerate(order):
            last = kind.endswith("r") and index == (len(order) - 1 if kind.startswith("i") else 0)
            given = source.meta["val"].shape[axis]
            value = self.along(value, axis % rank, rank, length, kind, norm, last, given)
        return value

    def along(
        self,
        value: Any,
        axis: int,
        rank: int,
        length: int,
        kind: str,
        norm: str,
        real: bool,
        given: int | None = None,
    ) -> Any:
        """Transform along one axis; `real` is the one of which only half of the frequencies are there.

        Of the values of which fewer are `given` than transformed, the others are zeros.
        """
        inverse = kind.startswith("i")
        scale = {"backward": 1 / length if inverse else 1.0, "ortho": length**-0.5}
        factor = scale.get(norm, 1.0 if inverse else 1 / length)
        bins = length // 2 + 1 if real else length
        turns = torch.outer(torch.arange(length), torch.arange(bins)).double() * (2 * math.pi / length)
        cosines, sines = factor * turns.cos(), factor * turns.sin()
        if real and inverse:
            twice = torch.full((bins, 1), 2.0, dtype=torch.float64)
            twice[0] = 1.0
            if length % 2 == 0:
                twice[-1] = 1.0
            pairs = ((cosines.t() * twice)[:given], (sines.t() * -twice)[:given])
            return self.sum(*(self._matmul(part, axis, rank, matrix) for part, matrix in zip(value, pairs)))
        cosines, sines = cosines[:given], sines[:given]
        if real:
            return tuple(self._matmul(value, axis, rank, matrix) for matrix in (cosines, -sines))
        sines = sines if inverse else -sines
        if not isinstance(value, tuple):
            return tuple(self._matmul(value, axis, rank, matrix) for matrix in (cosines, sines))
        (a, b), turned = value, (cosines, sines)
        ac, as_, bc, bs = (self._matmul(part, axis, rank, matrix) for part in (a, b) for matrix in turned)
        return self.sum(ac, self.times(-1, bs)), self.sum(as_, bc)

    def _matmul(self, x: Any, axis: int, rank: int, matrix: Tensor) -> Any:
        """Multiply along an axis of x, of which as many values are taken as the matrix has rows."""
        constant = add_constant(self.graph, "fourier.weight", matrix.float())
        x = self.call(aten.slice.Tensor, x, axis, 0, len(matrix))
        if axis != rank - 1:
            x = self.call(aten.transpose.int, x, axis, rank - 1)
        x = self.call(aten.matmul.default, x, constant)
        return x if axis == rank - 1 else self.call(aten.transpose.int, x, axis, rank - 1)


def _lengths(node: Node) -> list[tuple[int, int]]:
    """Return the axes of a transform, and the length of each in time or space; 0 where it is not known."""
    value, kind = node.args[0].meta["val"], TRANSFORMS[node.target]  # pyright: ignore
    given, several = (
        argument(node, 1, "n"),
        "n.default" in str(node.target) or "2.default" in str(node.target),
    )
    if several:
        default = [-2, -1] if "2.default" in str(node.target) else list(range(value.dim()))
        axes = argument(node, 2, "dim") or (default[-len(given) :] if given else default)
    else:
        axes, given = [argument(node, 2, "dim", -1)], None if given is None else [given]
    sizes = [value.shape[axis] for axis in axes]
    whole: list[Any] = list(given or sizes)
    if kind == "ir" and given is None:
        whole[-1] = 2 * (sizes[-1] - 1) if isinstance(sizes[-1], int) else 0
    fits = all(isinstance(size, int) for size in (*sizes, *whole))
    return [(axis, length if fits else 0) for axis, length in zip(axes, whole)]


TRANSFORMS: dict[Any, str] = {
    **{getattr(aten, f"fft_{name}").default: "r" for name in ("rfft", "rfft2", "rfftn")},
    **{getattr(aten, f"fft_{name}").default: "ir" for name in ("irfft", "irfft2", "irfftn")},
    **{getattr(aten, f"fft_{name}").default: "c" for name in ("fft", "fft2", "fftn")},
    **{getattr(aten, f"fft_{name}").default: "ic" for name in ("ifft", "ifft2", "ifftn")},
}
"""Of real values, to real values, or neither; inverse ones begin with "i"."""


def _each(way: Callable[[_Writer, Pair], Any]) -> Callable[..., Any]:
    """Take a real value as a pair, too."""
    return lambda writer, value, *_: way(writer, value if isinstance(value, tuple) else (value, 0))


WAYS: dict[Any, Callable[..., Any]] = {
    aten.complex.default: lambda writer, one, other: (one, other),
    aten.polar.default: _Writer.polar,
    aten.real.default: lambda writer, pair: writer.tensors(pair)[0],
    aten.imag.default: lambda writer, pair: writer.tensors(pair)[1],
    aten.abs.default: _each(_Writer.size),
    aten.angle.default: lambda writer, pair: writer.call(aten.atan2.default, *writer.tensors(pair)[::-1]),
    **dict.fromkeys(
        (aten.conj.default, aten._conj.default, aten.conj_physical.default),
        lambda writer, pair: (pair[0], writer.times(-1, pair[1])),
    ),
    aten.resolve_conj.default: lambda writer, pair: pair,
    aten.view_as_real.default: lambda writer, pair: writer.call(aten.stack.default, writer.tensors(pair), -1),
    aten.view_as_complex.default: lambda writer, x: tuple(
        writer.call(aten.select.int, x, -1, i) for i in (0, 1)
    ),
    aten.exp.default: lambda writer, pair: writer.polar(writer.exp(pair[0]), writer.filled(pair[1], pair[0])),
    aten.square.default: lambda writer, pair: writer.product(pair, pair),
    aten.reciprocal.default: lambda writer, pair: writer.quotient(1, pair),
    aten.rsub.Scalar: lambda writer, one, other: writer.total(other, one, -1),
    **dict.fromkeys((aten.mul.Tensor, aten.mul.Scalar), _Writer.product),
    **dict.fromkeys((aten.add.Tensor, aten.add.Scalar), _Writer.total),
    **dict.fromkeys(
        (aten.sub.Tensor, aten.sub.Scalar), lambda writer, one, other: writer.total(one, other, -1)
    ),
    **dict.fromkeys((aten.div.Tensor, aten.div.Scalar), _Writer.quotient),
}
