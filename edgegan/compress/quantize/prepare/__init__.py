"""What is quantized, and how its rounding is written into a graph: layers, tensors, levels."""

from edgegan.compress.quantize.prepare.quiet import quiet

with quiet():  # it logs what it was not built with, at its first import
    import torchao.quantization.pt2e  # noqa: F401
