"""A contract as typed values: the four kinds, and one file per block they are made of."""

from __future__ import annotations
