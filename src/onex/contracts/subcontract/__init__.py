"""The blocks of a contract as values: one file per block, the same block in whichever kind of node it stands."""

from __future__ import annotations
