"""What a step of the loop is: adversarial training, distillation, quantization-aware distillation."""
