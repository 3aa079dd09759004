"""What a model costs, and how good its outputs are. Needs numpy and scipy; never torch."""
