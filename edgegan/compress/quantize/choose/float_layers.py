"""Which layers to leave in float: those that take the most error away for the time that they lose."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence

from torch.fx import GraphModule

from edgegan.compress.quantize.calibrate.calibration import levels_around, quantizers, split_readers
from edgegan.compress.quantize.calibrate.neural_compressor import Calibrate, prepare
from edgegan.compress.quantize.choose.budget import PSNR_DB, Budget
from edgegan.compress.quantize.choose.candidates import Samples
from edgegan.compress.quantize.choose.layer_times import LayerTimes
from edgegan.compress.quantize.choose.quantized_layers import Layers
from edgegan.compress.quantize.prepare.layers import layer_names
from edgegan.compress.quantize.prepare.quantizer import Int8Quantizer
from edgegan.compress.rewrite.graph import argument
from edgegan.target import Int8

MARGINS = (1.0, 0.7, 0.4)
"""Shares of the error that a budget allows, to be tried in turn: the file is judged on other samples."""
SHARES = (1, 2, 4)
"""Of layers that may go back to INT8, all, half and a quarter are tried."""
MOST_LOST = 0.75
"""Of the time that INT8 saves, what may go for a budget that nobody asked for."""


class Switched:
    """A graph in INT8 of which layers can be switched to float and back, without making it anew.

    A tensor stays rounded as long as any layer in INT8 wants it to be. Weights in float are those before
    any improvement.
    """

    def __init__(self, graph: GraphModule, layers: Layers, int8: Int8, calibrate: Calibrate) -> None:
        self.graph = prepare(copy.deepcopy(graph), Int8Quantizer(int8, layers.skip, layers.float_outputs))
        held = {**dict(self.graph.named_parameters()), **dict(self.graph.named_buffers())}
        before = {name: value.detach().clone() for name, value in held.items()}
        calibrate(self.graph)
        split_readers(self.graph)
        around = levels_around(self.graph, outputs=int8.outputs)
        self.around = {layer: set() for layer in layers.macs if layer not in layers.skip}
        self.weights = {}
        for node, layer in layer_names(graph).items():
            if node.name in around:
                self.around[layer] |= around[node.name]
                target = str(argument(node, 1, "weight").target)
                self.weights[layer] = (held[target], before[target], held[target].detach().clone())

    def switch(self, in_float: Collection[str]) -> GraphModule:
        """Return the graph, with these layers in float and all others in INT8."""
        needed = set().union(*(levels for layer, levels in self.around.items() if layer not in in_float))
        for _, levels in quantizers(self.graph):
            levels.active = levels in needed
        for layer, (weight, plain, improved) in self.weights.items():
            weight.data.copy_(plain if layer in in_float else improved)
        return self.graph


def ladder(
    switched: Switched,
    samples: Samples,
    budget: Budget,
    times: LayerTimes,
    *,
    rounds: int,
    reached: float,
    asked: bool,
    progress: Callable[[], object] = lambda: None,
) -> list[list[str]]:
    """Return which layers to try in float, more and more of them; one at least stays in INT8.

    Where the budget is in dB alone, layers are added until the error falls by as much as it is over the
    budget, and then by more; those first whose error is worth their time. Each round looks at what each layer
    more would bring, given those that are in float by then: neighbours share the rounding of the tensor
    between them.

    Args:
        switched: with all improvements.
        samples: to look at.
        budget: what is to be met. For one that is not in dB alone, each rung has one layer more.
        times: what each layer takes.
        rounds: how often each layer is looked at, at most.
        reached: the dB, less than the budget's, that was measured with all of them in INT8.
        asked: whether there is to be no limit to the time lost: all layers but one may be in float.
        progress: called after each layer.
    """
    names = list(switched.around)

    def error(in_float: Collection[str]) -> float:
        return _error(switched, samples, in_float)

    def gains(chosen: Sequence[str], now: float) -> dict[str, float]:
        found = {}
        for layer in names:
            if layer not in chosen:
                found[layer] = max(0.0, now - error([*chosen, layer]))
                progress()
        return found

    def worth(layer: str) -> float:
        return gained[layer] / times.lost(layer)

    most = sum(map(times.lost, names)) * (1.0 if asked else MOST_LOST)
    now = error([])
    gained = gains([], now)
    limits = budget.to_dict()
    if set(limits) != {PSNR_DB}:
        ranked = sorted(names, key=worth, reverse=True)
        return [ranked[:count] for count in range(1, len(ranked))]
    rungs: list[list[str]] = []
    chosen: list[str] = []
    allowed = [margin * now * 10 ** ((reached - limits[PSNR_DB]) / 10) for margin in MARGINS]
    for _ in range(rounds):
        left = most - sum(map(times.lost, chosen))
        within = {layer: gain for layer, gain in gained.items() if times.lost(layer) <= left}
        added = cheapest(within, now - allowed[0], times.lost)
        while added and sum(map(times.lost, [*chosen, *added])) > most:
            added.pop()
        if not added or len(chosen) + len(added) >= len(names):
            break
        chosen = [*chosen, *added]
        now = error(chosen)
        rungs.append(chosen)
        while allowed and now <= allowed[0]:
            allowed.pop(0)
        if not allowed:
            break
        gained = gains(chosen, now)
    everything = sorted(names, key=lambda layer: (layer not in chosen, -times.lost(layer)))[:-1]
    return [*rungs, *([everything] if asked and len(everything) > len(chosen) else [])]


def fewer(
    switched: Switched,
    samples: Samples,
    chosen: Sequence[str],
    times: LayerTimes,
    *,
    limit_db: float,
    progress: Callable[[], object] = lambda: None,
) -> list[list[str]]:
    """Return parts of a set that met the budget, which may meet it too; those with the fewest layers first.

    Rungs of a ladder lie apart, and what a layer brings beside others is known only when all are there. So
    layers go back to INT8, those first that save the most time for the error that they bring, as long as the
    error is one that the budget allows.

    Args:
        switched: with all improvements.
        samples: to look at.
        chosen: the layers in float that met the budget.
        times: what each layer takes.
        limit_db: the budget's. The file's own dB tell less of a part: they rest on its rarest samples.
        progress: called after each look at a layer, twice for each.
    """
    now = _error(switched, samples, chosen)
    saved: dict[str, float] = {}
    for layer in chosen:
        more = _error(switched, samples, [name for name in chosen if name != layer]) - now
        saved[layer] = times.lost(layer) / max(more, 1e-6 * now)
        progress()
    allowed, back = 10 ** (-limit_db / 10), list[str]()
    for layer in sorted(chosen, key=saved.__getitem__, reverse=True):
        left = [name for name in chosen if name not in (*back, layer)]
        if left and _error(switched, samples, left) <= allowed:
            back.append(layer)
        progress()
    counts = sorted({len(back) // share for share in SHARES} - {0}, reverse=True)
    return [[name for name in chosen if name not in back[:count]] for count in counts]


def _error(switched: Switched, samples: Samples, in_float: Collection[str]) -> float:
    """Return the mean square error of other samples' outputs, as a share of their range squared."""
    return float(10 ** (-samples.sure_psnr_db(switched.switch(in_float)) / 10))


def cheapest(gained: dict[str, float], wanted: float, cost: Callable[[str], float]) -> list[str]:
    """Return layers that gain as much as is `wanted` together, or half of what all do where that is less.

    The most for its cost goes first; what turned out not to be needed comes back, the dearest first; and a
    single layer that does as well for less takes the place of them all.
    """
    wanted = min(wanted, max(sum(gained.values()) / 2, max(gained.values(), default=0.0)))
    found, chosen = 0.0, list[str]()
    for layer in sorted(gained, key=lambda name: gained[name] / cost(name), reverse=True):
        if found >= wanted or not gained[layer]:
            break
        chosen.append(layer)
        found += gained[layer]
    for layer in sorted(chosen, key=cost, reverse=True):
        if found - gained[layer] >= wanted:
            chosen.remove(layer)
            found -= gained[layer]
    enough = [layer for layer in gained if gained[layer] >= wanted > 0]
    alone = min(enough, key=cost, default=None)
    return [alone] if alone is not None and cost(alone) < sum(map(cost, chosen)) else chosen
