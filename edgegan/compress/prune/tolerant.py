"""torch-pruning's graph, built node by node: where it fails at one, the others are mapped all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from torch_pruning.dependency import index_mapping, shape_infer

Lost = dict[Any, str]
"""Nodes whose channels could not be mapped, and why."""


@contextmanager
def each_node_alone() -> Iterator[Lost]:
    """Note the nodes at which the mapping of channels fails, in place of giving up; map each node once.

    torch-pruning maps anew for each group, as the graph may have been pruned since. Here it never is.
    """
    lost: Lost = {}
    done: set[Any] = set()

    def alone(step: Callable[[Any], None], graph: Any) -> None:
        for module, node in list(graph.module2node.items()):
            if (step, node) in done:
                continue
            done.add((step, node))
            try:
                step(_OneNode(graph, module, node))
            except Exception as error:
                lost[node] = (
                    f"{type(error).__name__} in {node.name or type(module).__name__.strip('_')}: {error}"
                )

    shapes, mapping = shape_infer.init_shape_information, index_mapping.update_index_mapping
    with (
        patch.object(shape_infer, "init_shape_information", lambda graph: alone(shapes, graph)),
        patch.object(index_mapping, "update_index_mapping", lambda graph: alone(mapping, graph)),
    ):
        yield lost


class _OneNode:
    """A graph that holds one node, and answers all else as `graph` does."""

    def __init__(self, graph: Any, module: Any, node: Any) -> None:
        self._graph, self.module2node = graph, {module: node}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._graph, name)
