"""Run ONNX files with edgegan's runtime and keep what they gave: imported here, a script on another CPU.

`python run_models.py MODELS RESULTS` runs each `MODELS/NAME.onnx` by its contract, `MODELS/NAME.json`, and
writes `RESULTS/NAME.npz`. It takes numpy and onnxruntime only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from edgegan.runtime.contract import Arrays, Contract
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine
from edgegan.runtime.generator import Generator

SAMPLES = 4
SEED = 7


def run_model(path: Path) -> Arrays:
    """Return the inputs and the outputs by name, and `pictures`: those of the generator, as bytes."""
    contract = Contract.from_dict(json.loads(path.with_suffix(".json").read_text()))
    inputs = contract.sample(SAMPLES, SEED)
    with Generator(OnnxRuntimeEngine(path, threads=1), contract) as generator:
        return {**inputs, **generator.engine(inputs), "pictures": generator(SAMPLES, SEED)}


if __name__ == "__main__":
    models, results = map(Path, sys.argv[1:])
    for model in models.glob("*.onnx"):
        np.savez(results / f"{model.stem}.npz", **run_model(model))  # pyright: ignore[reportArgumentType]
