"""Pictures of graphs: boxes in layers, lines between them, written as SVG. Pure: the same graph gives the same bytes."""

from __future__ import annotations
