"""What torch.onnx reads is shared between exports, and read anew where operators came since."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import torch
from torch import nn

from edgegan.compress.export import to_onnx
from edgegan.runtime.contract import Contract, Input, Output

contract = Contract((Input("x", (4,)),), (Output("y", (4,), layout=""),))
to_onnx(nn.Linear(4, 4).eval(), contract)

import edgegan.compress.quantize.prepare.pt2e


class Rounded(nn.Module):
    def forward(self, x):
        ops, ends = torch.ops.quantized_decomposed, (0.1, 0, -128, 127, torch.int8)
        return ops.dequantize_per_tensor(ops.quantize_per_tensor(x, *ends), *ends)


print([node.op_type for node in to_onnx(Rounded().eval(), contract).graph.node])
"""


def test_a_plain_export_does_not_hide_operators_that_come_with_quantization() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.splitlines()[-1] == "['QuantizeLinear', 'DequantizeLinear']"
