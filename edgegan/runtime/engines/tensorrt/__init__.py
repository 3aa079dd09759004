"""TensorRT: what builds engines from ONNX files, and runs them on NVIDIA GPUs."""
