"""The page of a run, and the tables for the terminal and for READMEs."""

from edgegan.report.page import write_report

__all__ = ["write_report"]
