"""The arguments of a network's constructor: from its defaults, and from the shapes in its checkpoint."""

from __future__ import annotations

import argparse
import inspect
import math
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor, nn

from edgegan.compress.configuration import configured, dataclass_of, declared_types, names_of
from edgegan.compress.weights import entries, find, is_average, prefixes_of
from edgegan.errors import CheckpointError, ModelError, some
from edgegan.init.inputs import CLASS_COUNT, LATENT_SIZE

DEEPEST_SETTINGS = 3
MOST_BUILDS = 1500
SECONDS = 60.0
SMALL = (1, 2, 3, 4, 5, 6, 7, 8)
POWERS = tuple(2**power for power in range(2, 11))
CONFIGURATIONS = re.compile(
    r"(opts?|args|arguments|config(uration)?|cfg|conf|h|hps?|hparams|params|options|hyper_?parameters)"
)
CHANNELS = re.compile(
    r"nc|(n_|num_|out(put)?_|in(put)?_|im(a?ge?)?_)*(ch|chans?|channels?|nc|dim)(_out|_in)?|colou?rs?"
)
Make = Callable[..., Any]


@dataclass(frozen=True)
class Construction:
    """How the checkpoint's network is built: the `arguments`, and of those that were found, why they are so.

    `key` names the checkpoint's entry, where more than one fits.
    """

    arguments: dict[str, Any]
    why: dict[str, str] = field(default_factory=dict)
    key: str | None = None


def construct(
    make: Make, content: Any, given: Mapping[str, Any], called: str, beside: Any = None
) -> Construction:
    """Return arguments with which the network that `make` builds fits the checkpoint's `content`.

    `given` are used as they are. What the checkpoint, or `beside` it a file, holds of the training's own
    settings comes first, and a configuration is taken from there alone. Numbers without a default are looked
    for among the sizes in the checkpoint, then those that have one; others cannot be found.

    Raises:
        ModelError: it cannot be built, or wants what no number stands for.
        CheckpointError: no arguments were found that fit.
    """
    parameters = _parameters(make)
    missing = [one for one in parameters if one.default is one.empty and one.name not in given]
    fit = _Fit(make, content, given)
    settings = {"beside": beside, "checkpoint": content}
    known = _settings(settings, {one.name for one in parameters} - set(given))
    if (found := _configuration(fit, missing, settings, declared_types(make))) is not None:
        return fit.done(found, {name: f"{name}: by the settings of the training" for name in found})
    _refuse_objects(missing, called)
    if known and all(one.name in known for one in missing) and fit.fits(known):
        changed = {
            one.name: known[one.name] for one in parameters if known.get(one.name, one.default) != one.default
        }
        why = {name: f"{name} {value}: by the settings of the training" for name, value in changed.items()}
        return fit.done(changed, why)
    if not missing and fit.fits({}):
        return fit.done({}, {})
    wanted = missing
    found = fit.search(wanted) if wanted else None
    if found is None:
        wanted = [*missing, *(one for one in parameters if one not in missing and _varies(one, given))]
        found = fit.search(wanted)
    if found is None:
        raise fit.failure(parameters, called)
    changed = {one.name: found[one.name] for one in wanted if found[one.name] != one.default}
    return fit.done(changed, fit.reasons(wanted, changed))


class _Fit:
    """Builds the network, without memory where it can, and holds it against the checkpoint."""

    def __init__(self, make: Make, content: Any, given: Mapping[str, Any]) -> None:
        self.make, self.content, self.given = make, content, given
        self.entries = list(entries(content))
        self.numbers = _Numbers(self.entries, given)
        self.tried = self.built = 0
        self.end = time.monotonic() + SECONDS
        self.error: Exception | None = None

    def build(self, arguments: Mapping[str, Any]) -> nn.Module | None:
        """Return the network, on the device "meta" if its code allows; None where it cannot be built."""
        self.tried += 1
        for device in ("meta", "cpu"):
            try:
                with torch.device(device):
                    module = self.make(**configured(self.make, {**self.given, **arguments}))
                self.built += 1
                return module if isinstance(module, nn.Module) else None
            except Exception as error:
                self.error = error
        return None

    def fits(self, arguments: Mapping[str, Any]) -> bool:
        module = self.build(arguments)
        return module is not None and bool(find(self.content, module))

    def done(self, arguments: Mapping[str, Any], why: Mapping[str, str]) -> Construction:
        """Return the construction with `arguments`.

        Where several entries fit, and not just one of them holds averaged weights, the first is named.
        """
        module = self.build(arguments)
        found = find(self.content, module) if module is not None else []
        averaged = [one for one in found if is_average(one.entry)]
        key, said = None, dict(why)
        if len(found) > 1 and len(averaged) != 1:
            key, others = found[0].entry, [repr(one.entry) for one in found[1:]]
            said["key"] = f"guess: the entry {key!r} of the checkpoint; others fit too: {some(others)}"
        return Construction({**self.given, **arguments}, said, key)

    def search(self, wanted: Sequence[inspect.Parameter]) -> dict[str, Any] | None:
        """Return values of the `wanted` arguments that fit: one after another is set to what fits best."""
        choices = {one.name: self.numbers.for_parameter(one) for one in wanted}
        if not all(choices.values()):
            return None
        values = {name: choice[0] for name, choice in choices.items()}
        best = self.closeness(values)
        improved = True
        while improved and best < 1 and self.tried < MOST_BUILDS and time.monotonic() < self.end:
            improved = False
            for name, choice in choices.items():
                tried = {value: self.closeness({**values, name: value}) for value in choice}
                value = max(tried, key=lambda one: tried[one])
                if tried[value] > best:
                    best, values[name], improved = tried[value], value, True
        return values if self.fits(values) else None

    def closeness(self, arguments: Mapping[str, Any]) -> float:
        """Return how much of the checkpoint and of the network agree: 1 where all names and shapes do."""
        module = self.build(arguments)
        if module is None:
            return -1.0
        wanted = {
            name: tuple(value.shape)
            for name, value in module.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        if not wanted:
            return -1.0
        return max((_agreement(wanted, weights) for _, weights in self.entries), default=-1.0)

    def reasons(self, wanted: Sequence[inspect.Parameter], chosen: Mapping[str, Any]) -> dict[str, str]:
        """Say of each chosen argument whether the shapes leave a choice."""
        why = {}
        for one in wanted:
            if one.name not in chosen:
                continue
            others = [
                value
                for value in self.numbers.for_parameter(one)[:12]
                if value != chosen[one.name] and self.fits({**chosen, one.name: value})
            ]
            if others:
                why[one.name] = (
                    f"guess: {one.name} {chosen[one.name]}; its shapes fit {some(list(map(str, others)))} too"
                )
            else:
                why[one.name] = f"{one.name} {chosen[one.name]}: by the shapes in the checkpoint"
        return why

    def failure(self, parameters: Sequence[inspect.Parameter], called: str) -> Exception:
        names = [one.name for one in parameters]
        signature = ", ".join(str(one) for one in parameters) or "no arguments"
        example = next((name for name in names if name not in self.given), "width")
        if self.built == 0 and self.error is not None:
            what = f"{called} cannot be built: {type(self.error).__name__}: {self.error}"
            return ModelError(
                what, next=f"it takes ({signature}): give what it was trained with: --arg {example}=..."
            )
        return CheckpointError(
            f"the checkpoint does not fit {called}, and no arguments were found with which it does",
            next=f"it takes ({signature}): give what it was trained with: --arg {example}=...; or name the "
            "class that was trained; where an argument is no plain value, write a function in the same file "
            "that builds it, as in def make(), and name that",
        )


class _Numbers:
    """The sizes in a checkpoint, as values of arguments."""

    def __init__(self, found: Sequence[tuple[str, Mapping[str, Tensor]]], given: Mapping[str, Any]) -> None:
        largest = sorted(found, key=lambda one: not is_average(one[0]))
        weights = [value for _, held in largest for value in held.values() if value.dim() > 1]
        self.sizes = list(dict.fromkeys(size for value in weights for size in value.shape))[:40]
        self.first = [size for value in weights[:2] for size in value.shape]
        self.rows = [value.shape[0] for name, value in _named(largest) if re.search("emb|label|class", name)]
        self.counts = list(dict.fromkeys(_list_lengths([name for name, _ in _named(largest)])))
        known = [value for value in given.values() if isinstance(value, int)]
        computed = [
            *(size - less for size in self.sizes for less in known if size > less),
            *(math.isqrt(size) for size in self.sizes if math.isqrt(size) ** 2 == size),
            *(a // b for a in self.sizes for b in self.sizes if b > 1 and a > b and a % b == 0),
        ]
        self.computed = [size for size in dict.fromkeys(computed) if size not in self.sizes][:30]

    def for_parameter(self, parameter: inspect.Parameter) -> list[Any]:
        """Return what `parameter` may be, its default or the likeliest by its name first."""
        annotation, default, name = parameter.annotation, parameter.default, parameter.name.lower()
        if get_origin(annotation) is Literal:
            return _first(default, list(get_args(annotation)))
        if isinstance(default, bool) or annotation in (bool, "bool"):
            return _first(default, [False, True])
        if annotation in (float, "float") or isinstance(default, float):
            return [default if isinstance(default, float) else 0.0]
        if annotation in (str, "str") or isinstance(default, (str, tuple, list, dict)):
            return [] if default is parameter.empty else [default]
        usual: list[int] = []
        if LATENT_SIZE.fullmatch(name):
            usual = self.first
        elif CLASS_COUNT.fullmatch(name):
            usual = self.rows
        elif CHANNELS.fullmatch(name):
            usual = [size for size in (3, 1) if size in self.sizes]
        values = [*usual, *self.counts, *self.sizes, *SMALL, *self.computed, *POWERS]
        return _first(default, list(dict.fromkeys(values)))


def _settings(content: Any, names: Collection[str], depth: int = 0) -> dict[str, Any]:
    """Return what a training's checkpoint says of its own settings under `names`, as plain data."""
    held = vars(content) if isinstance(content, argparse.Namespace) else content
    if not isinstance(held, Mapping) or depth > DEEPEST_SETTINGS:
        return {}
    found: dict[str, Any] = {}
    for value in held.values():
        found.update(_settings(value, names, depth + 1))
    plain = {name: _plain(held[name]) for name in names if name in held}
    return {**found, **{name: value for name, value in plain.items() if value is not None}}


def _configuration(
    fit: _Fit, missing: Sequence[inspect.Parameter], settings: Mapping[str, Any], types: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the configuration that the only missing argument is, of the settings that were kept."""
    kinds = [dataclass_of(types.get(one.name)) for one in missing]
    if len(missing) != 1 or not (kinds[0] or CONFIGURATIONS.fullmatch(missing[0].name.lower())):
        return None
    names = names_of(kinds[0]) if kinds[0] else None
    kept = sorted(_mappings(settings), key=lambda one: not CONFIGURATIONS.fullmatch(one[0].lower()))
    for _, held in (*kept, ("", {})):
        plain = _plain(held) or {}
        entries = {name: value for name, value in plain.items() if names is None or name in names}
        if (entries or names) and fit.fits({missing[0].name: entries}):
            return {missing[0].name: entries}
    return None


def _mappings(content: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield by their names the entries that may be settings, the outer before the inner."""
    for name, value in content.items():
        held = vars(value) if isinstance(value, argparse.Namespace) else value
        if isinstance(held, Mapping):
            yield str(name), held
            if depth < DEEPEST_SETTINGS:
                yield from _mappings(held, depth + 1)


def _plain(value: Any) -> Any:
    """Return a setting as a recipe holds it, without what it cannot hold; None where it cannot at all."""
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        parts = {str(name): _plain(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part is not None}
    if isinstance(value, (list, tuple)):
        parts = [_plain(part) for part in value]
        return None if None in parts else parts
    return value if isinstance(value, (bool, int, float, str)) else None


def _agreement(wanted: Mapping[str, tuple[int, ...]], weights: Mapping[str, Tensor]) -> float:
    names = [name for name in weights if not name.endswith("num_batches_tracked")]
    best = 0.0
    for prefix in prefixes_of(names, set(wanted)):
        own = {name[len(prefix) :]: tuple(weights[name].shape) for name in names if name.startswith(prefix)}
        total = sum(_alike(shape, own[name]) for name, shape in wanted.items() if name in own)
        best = max(best, total / max(len(own), len(wanted)))
    return best


def _alike(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    if one == other:
        return 1.0
    if len(one) != len(other):
        return 0.0
    return 0.5 * sum(a == b for a, b in zip(one, other)) / max(len(one), 1)


def _parameters(make: Make) -> list[inspect.Parameter]:
    try:
        found = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one for one in found if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]


def _varies(parameter: inspect.Parameter, given: Mapping[str, Any]) -> bool:
    whole = isinstance(parameter.default, int) or get_origin(parameter.annotation) is Literal
    return whole and parameter.name not in given


def _refuse_objects(missing: Sequence[inspect.Parameter], called: str) -> None:
    for one in missing:
        if CONFIGURATIONS.fullmatch(one.name.lower()) and one.annotation in (one.empty, dict, "dict"):
            raise ModelError(
                f"{called} is built from a configuration, {one.name!r}, and none that fits was kept with the "
                "checkpoint",
                next="lay it beside the checkpoint as config.json; or write a function in the same file that "
                "builds the network, as in def make(), and name that in place of the class",
            )


def _first(default: Any, values: list[Any]) -> list[Any]:
    if default is inspect.Parameter.empty:
        return values
    return [default, *(value for value in values if value != default)]


def _named(found: Sequence[tuple[str, Mapping[str, Tensor]]]) -> Iterator[tuple[str, Tensor]]:
    for _, held in found:
        yield from ((name, value) for name, value in held.items() if value.dim() > 0)


def _list_lengths(names: Sequence[str]) -> Iterator[int]:
    """Yield how many entries each list of layers has, as 6 for `blocks.0.` to `blocks.5.`."""
    lists: dict[str, set[str]] = {}
    for name in names:
        parts = name.split(".")
        for index, part in enumerate(parts):
            if part.isdigit():
                lists.setdefault(".".join(parts[:index]), set()).add(part)
    yield from (len(entry) for entry in lists.values())
