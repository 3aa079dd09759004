"""What a network's inputs may be: kinds and sizes to try, by names, first layers and its own numbers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgegan.init import own_sizes
from edgegan.init.held_numbers import (
    constructed,
    layers_with_weights,
    numbers_named,
    settings,
    unique,
    widths_of,
    words_of,
)
from edgegan.init.pictures import pictures

Kind = Literal[
    "vector",
    "map",
    "picture",
    "signal",
    "volume",
    "sequence",
    "contour",
    "label",
    "tokens",
    "onehot",
    "scalar",
    "matrices",
    "number",
]
"""vector (d), map (d, h, w), picture (c, h, w), signal (c, t), volume (c, t, h, w), sequence (t, d),
contour (t), label () or (h, w), tokens (t), (q, t) or (h, w), onehot (k), (k, 1, 1) or (k, h, w), scalar (),
matrices (k, r, c), and numbers of Python, which no contract has."""
OF_CLASSES = re.compile(
    r"(.*_)?(seg(ment.*)?|segmap|semantics?(_.*)?|parsing|layout|(label|class|sem(antic)?|seg(mentation)?)_?maps?)"
)
"""Names of maps that say of each place what is there."""
OF_SOUND = re.compile(r"(.*_)?(audio|wav(e|es|s)?|waveforms?|mix(ture)?s?|speech|voice|vocals?|sounds?)")
OF_POINTS = re.compile(r"(.*_)?(kps?|key_?points?|joints?|landmarks?|xyz|points?|coords?)(_.*)?")
MEANT: tuple[tuple[str, dict[Kind, float]], ...] = (
    (r"z\d*|z_.*|w|ws|(.*_)?noises?|(.*_)?latents?(_.*)?|.*_z|codes?|styles?|eps|seeds?|embeddings?",
     {"vector": 0, "map": 0.4, "sequence": 2, "picture": 2.2, "signal": 2.2, "volume": 2.6}),
    (OF_CLASSES.pattern, {"onehot": 0, "picture": 1.0, "label": 1.5, "map": 2}),
    (r"(.*_)?(jacobians?|affines?|thetas?|rotations?|transforms?|matri(x|ces))(_.*)?",
     {"matrices": 0, "sequence": 1}),
    (r"(.*_)?labels?(_.*)?|y|cs?|cls|class(es|_.*)?|(.*_)?targets?|cond(ition)?s?|domains?|attr.*|ids?|sid|spk.*|"
     r"speaker.*|.*_id|c_(src|org|trg|tgt)|(.*_)?(onehot|one_hot|actions?|genres?|emotions?|hours?|weekdays?|months?)",
     {"label": 0, "onehot": 0.3, "picture": 2, "vector": 2, "tokens": 2.2}),
    (r"(.*_)?(poses?|joints?|skeletons?|motions?|(kps?|keypoints?)(_.*)?|landmarks?|chords?|history|past|gumbels?)",
     {"sequence": 0, "vector": 0.5, "signal": 1.2}),
    (r"(.*_)?(xyz|points?|point_?clouds?|pcd?|pts|verts|vertices|coords?)",
     {"sequence": 0, "signal": 0.3, "vector": 1.2}),
    (r"(.*_)?(im(a?ge?)?s?|pictures?|photos?|frames?|faces?|rgb|lr|hr|ms|lrms|pan|hsi|guide|content|source|driving|reference|person|cloth(es|ing)?|background|masks?|sketch|edges?|gr[ae]y|"
     r"img.*|image.*)",
     {"picture": 0, "volume": 1.5, "vector": 2.5}),
    (OF_SOUND.pattern, {"signal": 0, "contour": 0.25, "sequence": 1, "picture": 1.2}),
    (r"mels?|spec.*|.*mel|signals?|series", {"signal": 0, "sequence": 1, "picture": 1.2}),
    (r"(.*_)?(f0|lf0|pitch|energy|loudness|periodicity|vuv)", {"contour": 0, "signal": 0.3, "scalar": 1.0}),
    (r"tokens?|(.*_)?tokens|(.*_)?ids|text|words?|captions?|sentences?",
     {"tokens": 0, "label": 1.5, "sequence": 2}),
    (r"psi|truncation.*|alpha|t|(.*_)?(timesteps?|sigmas?|temperature|strength|scale|level|gain|factor|ratio|amount|std)",
     {"scalar": 0, "label": 2, "vector": 2}),
)  # fmt: skip
"""Names of parameters to what they usually are, and how far from usual each kind is."""
OTHERWISE = 3.0
USUAL = (64, 64)
SIZES = tuple((side, side) for side in (128, 256, 32, 512, 224, 96, 48, 28, 16))
SOUND = 8192
"""Samples of a sound that are tried first."""
LENGTHS = (32, 64, 128, 256, 16, 8)
ONE_CHANNEL = re.compile(r".*(mask|sketch|edge|gr[ae]y|depth|hole).*")
MASK = re.compile(r".*(mask|hole).*")
CLASS_COUNT = re.compile(
    r"(n|num|number)?_?(of_)?(class|label|domain|cls|categor|c_dim|attr|semantic|seg|speaker)\w*|"
    r"c(ond(ition)?s?)?_?(dim|size)|dim_?c(ond(ition)?s?)?"
)
LATENT_SIZE = re.compile(
    r"n?z|z_?(dim|size)|dim_?z|(latent|noise|code|style|input|seed)s?_?(dim|size|channels?|features?)?\w{0,3}"
)
SERIES_LENGTH = re.compile(
    r"(max_)?(seq(uence)?_?len(gth)?|length|n?_?steps|timesteps|block_size|context_length)|"
    r"(n|num)_?(ws|latents?|styles?|past|frames?|bars?|points?|observed|history)|latent_len(gth)?|"
    r"past|history|obs(erved)?_?len(gth)?|input_len(gth)?|past_len(gth)?|n?_?frames|window_size"
)
POINT_COUNT = re.compile(r"((n|num|number)_?(of_)?)?(kps?|key_?points?|joints?|landmarks?|points?)")
MOST_SIZES = 10
_drawn = lru_cache(maxsize=32)(pictures)
"""Drawing a large picture takes longer than finding out that a network does not take it."""


@dataclass(frozen=True)
class Guess:
    """One input as it is tried; `shape` is that of one sample. `classes` bounds labels and tokens."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    classes: int = 0
    value: float = 0.0
    """Of a number of Python."""
    endless: bool = False
    """Of a label: whether the network takes numbers of any size."""

    @property
    def free(self) -> tuple[int, ...]:
        """The axes of one sample that a network may take in other sizes."""
        if self.kind == "tokens":
            square = len(set(self.shape)) < len(self.shape)
            return (0, 1) if square else (len(self.shape) - 1,)
        if self.kind in ("sequence", "contour"):
            return (0,)
        if self.kind == "label":
            return tuple(range(len(self.shape)))
        maps = self.kind in ("map", "onehot") and self.shape[-1] > 1
        spatial = maps or self.kind in ("picture", "signal", "volume")
        return tuple(range(1, len(self.shape))) if spatial else ()

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture or a video, of up to 4 channels, and no map of features."""
        return self.kind in ("picture", "volume") and self.shape[0] <= 4

    @property
    def is_mask(self) -> bool:
        """Whether it is a picture of zeros and ones."""
        return self.is_picture and self.shape[0] == 1 and MASK.fullmatch(self.name.lower()) is not None

    @property
    def is_class_map(self) -> bool:
        """Whether it says of each place of a picture what is there, in numbers or in channels."""
        return self.kind in ("label", "onehot") and len(self.shape) > 1 and self.shape[-1] > 1

    @property
    def is_points(self) -> bool:
        """Whether it holds the coordinates of points, by its name."""
        rows = self.kind == "vector" or (self.kind == "sequence" and self.shape[-1] in (2, 3))
        return rows and OF_POINTS.fullmatch(self.name.lower()) is not None

    @property
    def width(self) -> int | None:
        """The axis that a layer's width decides."""
        if self.kind in ("vector", "map", "picture", "signal", "volume", "onehot"):
            return 0
        return 1 if self.kind == "sequence" else None

    @property
    def length(self) -> int | None:
        """The axis of its steps, of a series and the like."""
        if self.kind == "tokens":
            return len(self.shape) - 1
        return {"sequence": 0, "contour": 0, "signal": 1, "volume": 1}.get(self.kind)

    def resized(self, axis: int, size: int) -> Guess:
        """Return the guess with `size` in the place of an axis."""
        return replace(self, shape=(*self.shape[:axis], size, *self.shape[axis + 1 :]))

    def draw(self, n: int, seed: int = 0) -> Any:
        """Return `n` samples: normal latents, made-up pictures in [0, 1], labels; or the number."""
        generator = torch.Generator().manual_seed(seed)
        if self.kind == "number":
            return int(self.value) if self.value == int(self.value) else self.value
        if self.kind in ("label", "tokens"):
            return torch.randint(0, max(self.classes, 1), (n, *self.shape), generator=generator)
        if self.kind == "onehot":
            rows = torch.randint(0, self.shape[0], (n, *self.shape[1:]), generator=generator)
            return nn.functional.one_hot(rows, self.shape[0]).float().movedim(-1, 1)
        if self.is_picture:
            drawn = _drawn(n, self.shape[0], self.shape[1:], seed).clone()
            return drawn.round() if self.is_mask else drawn
        if self.kind == "scalar":
            return torch.rand(n, *self.shape, generator=generator)
        return torch.randn(n, *self.shape, generator=generator)


@dataclass(frozen=True)
class Option:
    """A guess, and how far it is from what is usual: 0 is as usual as can be."""

    guess: Guess
    cost: float


def parameters(module: nn.Module) -> list[inspect.Parameter]:
    """Return the parameters of `module.forward` that a call must give."""
    found = []
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            found.append(parameter.replace(name=parameter.name.rstrip("s") or "x"))
        elif parameter.kind is not parameter.VAR_KEYWORD and parameter.default is parameter.empty:
            found.append(parameter)
    return found or [inspect.Parameter("x", inspect.Parameter.POSITIONAL_ONLY)]


def conditions(module: nn.Module) -> list[str]:
    """Return the parameters of `module.forward` that are None unless given, and are labels by their names."""
    return [
        parameter.name
        for parameter in inspect.signature(module.forward).parameters.values()
        if parameter.default is None and "label" in usual_kinds(parameter.name.lower())
    ]


def options(parameter: inspect.Parameter, facts: Facts) -> list[Option]:
    """Return what `parameter` may be, the most usual first."""
    costs: dict[Kind, float] = {}
    for kind, cost in usual_kinds(parameter.name.lower()).items():
        costs[kind] = cost + (1.5 if facts.series and kind in ("picture", "volume") else 0)
    for kind, cost in facts.kinds.items():
        costs[kind] = min(costs.get(kind, OTHERWISE), cost + (1.5 if costs else 0))
    if not usual_kinds(parameter.name.lower()) and facts.near(parameter.name):
        costs |= {"onehot": 0.0, "label": 0.2, "vector": 0.3}
    if parameter.annotation in (int, float, bool, "int", "float", "bool"):
        costs = {"number": 0.0}
    elif facts.numbers:
        costs.setdefault("number", 1.0)
    if facts.embeds:
        costs.setdefault("label", OTHERWISE)
    found = [
        Option(guess, cost + 0.1 * place)
        for kind, cost in costs.items()
        for place, guess in enumerate(kind_guesses(parameter.name, kind, facts))
    ]
    return sorted(found, key=lambda option: option.cost)


class Facts:
    """What a network's layers and numbers say of its inputs; with `numbers`, Python's may be among these."""

    def __init__(self, module: nn.Module, *, numbers: bool = False) -> None:
        self.numbers = numbers
        self._layers = list(layers_with_weights(module))
        own = [
            (name.lower(), value)
            for layer in module.modules()
            for name, value in settings(layer)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1 << 16
        ]
        self._constructed = constructed(type(module))
        own += self._constructed
        embeddings = [layer for layer in self._layers if isinstance(layer, nn.Embedding)]
        self.embeds = bool(embeddings)
        self.classes = unique([*(e.num_embeddings for e in embeddings), *numbers_named(own, CLASS_COUNT)])
        widths = [width for layer in self._layers for width in widths_of(layer)]
        sums = [width - less for width in widths for less in self._joined(embeddings) if width > less]
        self.latents = unique(
            [*numbers_named(own, LATENT_SIZE), *widths[:1], *sums[:4], *widths, 100, 128, 64, 512]
        )
        self.contexts = unique(
            layer.kdim
            for layer in module.modules()
            if isinstance(layer, nn.MultiheadAttention) and layer.kdim != layer.embed_dim
        )
        """Widths of what attention looks at, other than what looks."""
        self.channels = [width for layer in self._layers for width in widths_of(layer)]
        convolutions = [layer for layer in self._layers if isinstance(layer, _ConvNd)]
        self.lengths = unique(
            [*numbers_named(own, SERIES_LENGTH)[:2], *own_sizes.token_counts(module)[:2], *LENGTHS]
        )
        named = ((name.lower(), value) for layer in module.modules() for name, value in settings(layer))
        self.points = numbers_named(own, POINT_COUNT)[:1]
        """How many points there are, where a setting says so."""
        self.sizes = [
            *own_sizes.tensor_sizes(module)[:3],
            USUAL,
            *own_sizes.set_sizes(named, module)[:3],
            *SIZES,
        ]
        """Of pictures, the likeliest first."""
        self.axes = convolutions[0].weight.dim() - 2 if convolutions else 2
        self.series = {layer.weight.dim() for layer in convolutions} == {3}
        """Whether all of it slides over series, and nothing over pictures."""
        self.long = self.axes == 1 and not isinstance(convolutions[0], _ConvTransposeNd)
        """Whether the first layer slides over a series, so that one step of it makes none."""
        self.kinds = self._kinds()

    def near(self, name: str) -> list[int]:
        """Return the constructor's numbers whose names tell of the input `name`, as rooms of room."""
        words = words_of(name)
        return unique(
            size
            for of, size in self._constructed
            if of == name.lower() or (words_of(of) and words_of(of) <= words)
        )

    def _joined(self, embeddings: Sequence[nn.Embedding]) -> list[int]:
        return unique([*(embedding.embedding_dim for embedding in embeddings), *self.classes])

    def _kinds(self) -> dict[Kind, float]:
        """What the first layers take, where the names say nothing."""
        for layer in self._layers:
            if isinstance(layer, nn.Embedding):
                continue
            width = next(iter(widths_of(layer)), 0)
            if isinstance(layer, nn.Linear):
                return {"vector": 0, "sequence": 1, "picture": 1.4, "map": 2, "tokens": 2.5}
            if isinstance(layer, nn.RNNBase):
                return {"sequence": 0, "vector": 1}
            if isinstance(layer, _ConvNd):
                axes = layer.weight.dim() - 2
                full: Kind = ("signal", "picture", "volume")[axes - 1]
                latent = isinstance(layer, _ConvTransposeNd) or width > 16
                order: tuple[Kind, ...] = (
                    ("vector", "map", full) if latent and axes > 1 else (full, "vector", "map")
                )
                return {kind: 0.4 * place for place, kind in enumerate(order)}
        usual: tuple[Kind, ...] = ("vector", "picture", "map", "sequence", "signal", "volume", "tokens")
        return {kind: 0.5 * place for place, kind in enumerate(usual)}


def usual_kinds(name: str) -> dict[Kind, float]:
    """Return what a parameter usually is by its name, which may be one of several: frame0, img_2."""
    names = dict.fromkeys((name, re.sub(r"_?\d+$", "", name)))
    means = ((one, *meant) for one in names for meant in MEANT)
    return next((dict(kinds) for one, pattern, kinds in means if re.fullmatch(pattern, one)), {})


def kind_guesses(name: str, kind: Kind, facts: Facts) -> Iterator[Guess]:
    """Yield what an input of a kind may be, the most usual first."""
    few = [channels for channels in facts.channels[:1] if channels <= 16]
    near = facts.near(name)
    if kind == "number":
        yield from (Guess(name, kind, (), value=value) for value in (1.0, 2.0, 3.0, 4.0, 0.5, 0.0))
    elif kind in ("label", "tokens"):
        places = facts.sizes[:2] if OF_CLASSES.fullmatch(name.lower()) else [()]
        lengths = places if kind == "label" else [(length,) for length in facts.lengths]
        classes = unique([*near, *facts.classes]) or [2]
        yield from (Guess(name, kind, shape, classes=count) for shape in lengths for count in classes[:3])
    elif kind == "onehot":
        places = OF_CLASSES.fullmatch(name.lower())
        counts = unique([*near, *facts.classes, *(facts.channels[:2] if places else ()), 10, 2])
        counts = [count for count in counts if count > 1]
        spreads = facts.sizes[:4] if places else [(), (1, 1)]
        yield from (Guess(name, kind, (count, *spread)) for spread in spreads for count in counts)
    elif kind == "scalar":
        yield from (Guess(name, kind, shape) for shape in ((), (1,), (1, 1, 1)))
    elif kind == "vector":
        flat = (
            [count * axes for count in facts.points for axes in (2, 3)]
            if OF_POINTS.fullmatch(name.lower())
            else []
        )
        yield from (
            Guess(name, kind, (size,)) for size in unique([*flat, *near, *facts.latents])[:MOST_SIZES]
        )
    elif kind == "map":
        sides = ((1, MOST_SIZES), (8, 3), (16, 2))
        for side, most in (*sides[1:], sides[0]) if facts.long else sides:
            yield from (Guess(name, kind, (size, *(side,) * facts.axes)) for size in facts.latents[:most])
    elif kind in ("picture", "volume"):
        usual = [1, 3] if ONE_CHANNEL.fullmatch(name) else [*few, 3, 1]
        time = (8,) if kind == "volume" else ()
        places = facts.sizes if kind == "picture" else [(32, 32), (64, 64), (16, 16)]
        yield from (Guess(name, kind, (c, *time, *size)) for size in places for c in unique(usual)[:2])
    elif kind == "signal":
        contour = "contour" in usual_kinds(name.lower())
        widths = [1] if contour else unique([*facts.channels[:1], 80, 1])
        if OF_SOUND.fullmatch(name.lower()):
            widths = sorted((1, 2), key=lambda width: width not in facts.channels[:1])
        lengths = (SOUND, *LENGTHS) if widths[0] <= 2 else LENGTHS
        yield from (Guess(name, kind, (width, length)) for length in lengths for width in widths[:2])
    elif kind == "contour":
        sound = (SOUND,) if OF_SOUND.fullmatch(name.lower()) else ()
        yield from (Guess(name, kind, (length,)) for length in (*sound, *LENGTHS))
    elif kind == "matrices":
        counts = unique([*facts.points, *facts.lengths])[:3]
        yield from (Guess(name, kind, (k, *of)) for k in counts for of in ((2, 2), (3, 3), (2, 3)))
    else:
        points = OF_POINTS.fullmatch(name.lower())
        lengths = unique([*(facts.points if points else ()), *facts.lengths])
        widths = unique([*((2, 3) if points else ()), *facts.contexts, *facts.latents[:3]])
        yield from (Guess(name, kind, (t, d)) for t in lengths for d in widths)
