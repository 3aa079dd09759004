"""Run ONNX files with edgegan's runtime and store what they gave: on arm64, as a script, and on this machine.

`python arm64_outputs.py FOLDER` reads each `FOLDER/NAME.onnx` with its contract, `FOLDER/NAME.json`, and writes
`FOLDER/NAME.npz`: the inputs and outputs by name, and the pictures. Needs numpy and onnxruntime only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from edgegan.runtime.contract import Arrays, Contract
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine
from edgegan.runtime.generator import Generator

SAMPLES = 8
SEED = 7


def outputs(model: Path) -> Arrays:
    """Return the inputs drawn from `SEED`, the outputs of the engine, and the generator's pictures."""
    contract = Contract.from_dict(json.loads(model.with_suffix(".json").read_text()))
    inputs = contract.sample(SAMPLES, SEED)
    with Generator(OnnxRuntimeEngine(model, threads=1), contract) as generator:
        return {**inputs, **generator.engine(inputs), "pictures": generator(SAMPLES, SEED)}


if __name__ == "__main__":
    for model in sorted(Path(sys.argv[1]).glob("*.onnx")):
        np.savez(model.with_suffix(".npz"), **outputs(model))
