"""Findings and metrics over a tree of Python sources: one analysis per file, gathered by directory, one report."""
