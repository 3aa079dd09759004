"""Which layers of a graph are to be in INT8, before anything is measured."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from torch.fx import GraphModule

from edgegan.compress.quantize.prepare.layers import last_layers, layer_macs
from edgegan.errors import StageError

CHEAP_SHARE = 0.1
"""A last convolution with at most this share of the MACs stays in float."""


@dataclass(frozen=True)
class Layers:
    """Which layers to quantize. `macs` names all of them, in the order in which they run."""

    macs: dict[str, int]
    skip: tuple[str, ...]
    float_outputs: tuple[str, ...]
    """Of those in INT8, the ones that give a float output."""

    def without(self, layers: Sequence[str]) -> Layers:
        """Return the same with `layers` in float too."""
        outputs = tuple(layer for layer in self.float_outputs if layer not in layers)
        return replace(self, skip=tuple(sorted({*self.skip, *layers})), float_outputs=outputs)


def choose_layers(graph: GraphModule, skip: Sequence[str], modules: Collection[str] = ()) -> Layers:
    """Decide which layers to quantize.

    A last convolution stays in float where it is cheap, and a last linear layer gives a float output.

    Args:
        graph: in float.
        skip: names of layers, or of modules that hold some, to leave in float.
        modules: the names that there are beside those of layers that can be quantized: what they name is in
            float anyhow.

    Raises:
        StageError: `skip` names a layer that is not there, or no layer is left.
    """
    macs = layer_macs(graph)
    asked = {layer for layer in macs for name in skip if f"{layer}.".startswith(f"{name}.")}
    unknown = sorted(
        {name for name in skip if not any(f"{of}.".startswith(f"{name}.") for of in (*macs, *modules))}
    )
    if unknown:
        raise StageError(
            f"there is no layer {', '.join(unknown)} to skip",
            where="quantize: skip",
            next=f"choose from: {', '.join(macs)}",
        )
    last = {name: linear for name, linear in last_layers(graph).items() if name in macs}
    cheap = [name for name in last if not last[name] and macs[name] <= CHEAP_SHARE * sum(macs.values())]
    skipped = sorted({*asked, *cheap})
    if not set(macs) - set(skipped):
        raise StageError(
            "no layer is left to quantize",
            where=f"quantize: {', '.join(macs) or 'no convolution or Linear with weights of its own'}",
            next="leave the stage `quantize` out of the recipe" + (", or shorten `skip`" if asked else ""),
        )
    float_outputs = [name for name, linear in last.items() if linear and name not in skipped]
    return Layers(macs, tuple(skipped), tuple(float_outputs))
