"""What tensors hold on samples, how much the outputs feel them, and the ranges that follow."""
