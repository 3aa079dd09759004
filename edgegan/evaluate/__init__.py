"""Artifacts measured on engines: what they take, and how good their outputs are. No torch: devices too."""
