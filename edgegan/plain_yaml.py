"""YAML as plain data: mappings with keys of text, lists, text, numbers, true, false and null.

Aliases and merges (`<<`) may repeat what stands elsewhere, as long as all that they stand for stays small.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

DEEPEST = 32
MOST_VALUES = 20_000
"""Keys and values in all, with what aliases repeat."""
LONGEST_KEY, LONGEST_NUMBER = 200, 100
_TAG = "tag:yaml.org,2002:"
_SCALARS = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str")}


class NotPlainYaml(Exception):  # noqa: N818
    """The text is not such YAML; `line`, from 1, is where, as far as it is known."""

    def __init__(self, what: str, mark: yaml.Mark | None = None) -> None:
        super().__init__(what)
        self.line = None if mark is None else mark.line + 1


class _Loader(yaml.SafeLoader):
    """YAML 1.1's types, with 1e-4 as the number that YAML 1.2 makes it, and dates as text, as there."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def parse_yaml(text: str) -> tuple[yaml.Node | None, Any]:
    """Return the tree of `text`, for its lines, and its data.

    Raises:
        NotPlainYaml: it is not YAML, has another kind of value, is too deep or too large, or has a key twice.
    """
    try:
        _check_depth(text)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise NotPlainYaml(str(getattr(error, "problem", None) or error), mark) from error
    except (ValueError, RecursionError) as error:  # of numbers in escapes and directives
        raise NotPlainYaml(str(error)) from error
    if root is None:
        return None, None
    _check_size(root)
    return root, _plain(root, SafeConstructor())


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise NotPlainYaml(f"it is nested deeper than {DEEPEST} levels", event.start_mark)


def _check_size(root: yaml.Node) -> None:
    """Refuse what grows without end, or too large, where aliases are followed."""
    level, values = [root], 0
    for _ in range(DEEPEST + 1):
        inside: list[yaml.Node] = []
        for node in level:
            if isinstance(node, yaml.CollectionNode):
                pairs = isinstance(node, yaml.MappingNode)
                inside += [part for entry in node.value for part in (entry if pairs else (entry,))]
            if values + len(inside) > MOST_VALUES:
                raise NotPlainYaml(f"it holds more than {MOST_VALUES} values", node.start_mark)
        if not inside:
            return
        level, values = inside, values + len(inside)
    raise NotPlainYaml(f"its aliases nest it deeper than {DEEPEST} levels", level[0].start_mark)


def _plain(node: yaml.Node, constructor: SafeConstructor) -> Any:
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
        return [_plain(item, constructor) for item in node.value]
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
        return _mapping(node, constructor)
    if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
        return _scalar(node, constructor)
    kind = node.tag.removeprefix(_TAG)
    raise NotPlainYaml(f"a value of the kind {kind!r:.60} is not plain data", node.start_mark)


def _mapping(node: yaml.MappingNode, constructor: SafeConstructor) -> dict[str, Any]:
    own: dict[Any, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if isinstance(key.value, str) and own.setdefault(key.value, line) != line:
            raise NotPlainYaml(
                f"the key {key.value!r:.60} stands twice, at lines {own[key.value]} and {line}",
                key.start_mark,
            )
    _guarded(lambda: constructor.flatten_mapping(node), node)
    data = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag != f"{_TAG}str":
            raise NotPlainYaml("a key must be text: put it in quotes", key.start_mark)
        if len(key.value) > LONGEST_KEY:
            raise NotPlainYaml(f"a key of {len(key.value)} letters", key.start_mark)
        data[_scalar(key, constructor)] = _plain(value, constructor)
    return data


def _scalar(node: yaml.ScalarNode, constructor: SafeConstructor) -> Any:
    if node.tag != f"{_TAG}str" and len(node.value) > LONGEST_NUMBER:
        raise NotPlainYaml(f"a number of {len(node.value)} letters", node.start_mark)
    value = _guarded(lambda: constructor.construct_object(node), node)
    if isinstance(value, str):
        _guarded(lambda: value.encode(), node)
    return value


def _guarded(read: Callable[[], Any], node: yaml.Node) -> Any:
    """Call PyYAML, which raises a KeyError for `!!bool maybe`, a ValueError for `!!int x`, and others."""
    try:
        return read()
    except (yaml.YAMLError, ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        kind = node.tag.removeprefix(_TAG)
        raise NotPlainYaml(f"this is no {kind}: {str(node.value)!r:.60}", node.start_mark) from error
