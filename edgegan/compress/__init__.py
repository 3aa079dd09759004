"""Stages that make a generator small and fast, and the pipeline that runs them. Needs torch."""
