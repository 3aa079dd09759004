"""Engines: what runs a model on the device. Each module imports its library only when it is asked for."""
