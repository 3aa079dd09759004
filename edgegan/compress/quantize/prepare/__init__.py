"""What is quantized, and how its rounding is written into a graph: layers, tensors, levels."""
