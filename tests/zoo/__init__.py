"""Third-party generators, as published. A package: bench/zoo.py would hide a plain folder."""
