"""What brings INT8 outputs nearer to the float ones: equalization, rounding, biases, training."""
