"""How networks learn: one loop, the algorithms that it runs, and the losses that these minimize."""
