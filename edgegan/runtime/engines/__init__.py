"""Engines: what runs a model on the device. Each module imports its own library, and only when it is asked for."""
