"""Adversarial training of teachers, and training of feature extractors."""
