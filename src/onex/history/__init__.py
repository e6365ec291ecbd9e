"""A run as a file: what a store holds of its instances, written as lines, with secrets taken out, and read back without a store."""

from __future__ import annotations
