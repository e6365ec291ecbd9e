"""One file per `onex bench NAME`, and the ceiling that its ratios are taken of."""

from __future__ import annotations
