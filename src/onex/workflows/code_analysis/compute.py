"""Packs many results into one blob, so that no state holds a row per file. Directories and the tree both use it."""

from __future__ import annotations

from onex import ComputeIO, compute

from .code_total.payloads import Pack, Packed
from .summary import bundle


@compute("pack")
def pack(task: Pack, io: ComputeIO) -> Packed:
    return Packed(bundle=io.blob(bundle(io.read(part) for part in task.parts), "application/jsonl"))
