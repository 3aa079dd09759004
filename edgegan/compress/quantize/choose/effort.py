"""How much to try on a network: fewer samples where each takes long, so that the time is bounded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch.fx import GraphModule

from edgegan.compress.quantize.prepare.layers import layer_macs
from edgegan.compress.rewrite.graph import elements

WHOLE = 2.5e9
"""Work of one sample up to which all is tried that can be: minutes on two cores."""
PROVED_WORK = WHOLE / 4
"""The same for the samples that files are proved on, which are four times as many."""
UNCLEAR_WORK = WHOLE / 32
"""The same for those that it may take until it is clear whether a file is behind its graph."""
LOOKED_WORK = WHOLE / 4
"""The same for those on which each layer is looked at alone, several times."""
ELEMENT = 100
"""What it takes to compute, round and count one value of a tensor, in multiply-accumulates."""
LEAST = 4
ROUNDS, FEWEST_ROUNDS = 6, 3
"""How often each layer is looked at, at most, to find which are to be in float."""
OBSERVED, ROUNDED, PROVED = 4, 2, 30
"""What a pass that observes, that rounds, and a proof in float64 take, relative to one in float."""
BACK = 2
"""How often a layer in float is looked at, to find whether it may go back to INT8."""
LAYER_SECONDS = 0.03
"""What it takes to trace, prepare and convert a layer once more."""
STORED = 512 << 20
"""Bytes that the inputs and outputs of the samples may take, unless the least number takes more."""


@dataclass(frozen=True)
class Effort:
    """How many samples each part of the work takes. It follows from the network alone, not from the clock."""

    calibration: int
    judging: int = 64
    """To choose by."""
    exact: int = 32
    """On which a file is held to its graph in integers."""
    proving: int = 256
    """On which a file is held to its budget."""
    exact_most: int = 4096
    """On which a file is held to its graph where fewer do not make it clear."""
    looking: int = 1024
    """Of all layers together, each time that each is looked at alone."""

    @classmethod
    def of(cls, graph: GraphModule, calibration: int) -> Effort:
        """Return what a graph can afford, where it would be `calibration` samples for a light one."""
        nodes = [node for node in graph.graph.nodes if node.op == "call_function"]
        work = sum(layer_macs(graph).values()) + ELEMENT * sum(map(elements, nodes))
        share = min(1.0, WHOLE / max(1, work))
        ports = [node for node in graph.graph.nodes if node.op in ("placeholder", "output")]
        given = 4 * sum(elements(source) for port in ports for source in (port, *port.all_input_nodes))
        kept = max(LEAST, STORED // max(1, given))

        def count(most: int, share: float = share) -> int:
            return min(most, kept, max(LEAST, round(share * most)))

        proving = count(256, min(1.0, PROVED_WORK / max(1, work)))
        exact_most = count(4096, min(1.0, UNCLEAR_WORK / max(1, work)))
        looking = round(1024 * min(1.0, LOOKED_WORK / max(1, work)))
        calibration = max(LEAST, min(calibration, kept, max(16, count(calibration))))
        return cls(calibration, count(64), count(32), proving, exact_most, looking)

    def seconds(self, each: float, *, starts: int, trials: int, files: int, layers: int) -> float:
        """Return about how long the work takes.

        Args:
            each: seconds of one sample's forward pass in float.
            starts: float graphs that are observed.
            trials: ways to quantize.
            files: that are written and proved.
            layers: of the graph: each takes time to be made anew, whatever its size.
        """
        passes = OBSERVED * starts * self.calibration + ROUNDED * trials * self.judging
        passes += files * (PROVED * self.exact + ROUNDED * (self.judging + self.proving))
        return each * passes + LAYER_SECONDS * layers * (trials + 2 * files)

    def looking_seconds(self, each: float, layers: int) -> float:
        """Return about how long it takes at most to find which of so many layers are to be in float."""
        return each * ROUNDED * (self.rounds(layers) + BACK) * layers * self.sweeping(layers)

    def sweeping(self, layers: int) -> int:
        """Return on how many samples to look at each of so many layers alone."""
        return min(self.judging, max(LEAST, self.looking // max(1, layers)))

    def rounds(self, layers: int) -> int:
        """Return how often to look at each of so many layers, at most."""
        once = max(1, layers * self.sweeping(layers))
        return max(FEWEST_ROUNDS, min(ROUNDS, ROUNDS * self.looking // once))

    def bounded(self, calibration: int) -> dict[str, Any]:
        """Return what to record: the counts, where any is smaller than for a light network.

        But for `exact_most` and `looking`, which few networks come near.
        """
        light = Effort(calibration, exact_most=self.exact_most, looking=self.looking)
        return {} if self == light else {"bounded": asdict(self)}
