"""The analysis itself, in a worker process."""

from __future__ import annotations

from onex import ComputeIO, compute

from ..analysis import analyse as analyse_source
from ..summary import line, tally_of
from .payloads import Analyse, WasAnalysed


@compute("analyse")
def analyse(task: Analyse, io: ComputeIO) -> WasAnalysed:
    analysis = analyse_source(io.read(task.source), task.path, task.module)
    return WasAnalysed(analysis=io.blob(line(analysis), "application/json"), tally=tally_of(analysis))
