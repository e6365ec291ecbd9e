"""Contracts per second of the reader behind onex check; and ms and MiB for the most hostile texts."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Mapping
from statistics import median

from ..contracts.foreign.foreign_reader import read_contract
from .hostile import hostile
from .measurement import Goal, Measurement, Result
from .options import Options

FILES = 200
"""As many as a medium-sized repository has."""


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    texts = [contract(n) for n in range(chosen.count(FILES, 4))]
    _read_all(texts[:4])
    rates = []
    keys = 0
    for _ in range(chosen.pairs):
        started = time.process_time()
        keys = _read_all(texts)
        rates.append(len(texts) / max(time.process_time() - started, 1e-9))
    files_per_s = median(rates)
    awkward = list(hostile())[: 2 if chosen.quick else None]
    worst_ms, slowest = max((_cost_ms(text, 1 if chosen.quick else 3), name) for name, text in awkward)
    worst_mib, largest = max((_peak_mib(text), name) for name, text in awkward)
    with chosen.place() as folder:
        return Measurement(
            "files/s",
            files_per_s,
            targets=[
                Goal("files/s", files_per_s, 45, 90),
                Goal("the most hostile text in ms", worst_ms, 50, 50, at_most=True),
                Goal("the most hostile text in MiB", worst_mib, 64, 32, at_most=True),
            ],
            detail={
                "files": len(texts),
                "keys_per_file": round(keys / len(texts), 1),
                "keys_per_s": round(files_per_s * keys / len(texts)),
                "slowest": slowest,
                "largest": largest,
            },
        ).result(folder)


def _read_all(texts: list[str]) -> int:
    """Returns how many keys were read."""
    return sum(len(read_contract(text, "contract.yaml").keys) for text in texts)


def _cost_ms(text: str, tries: int) -> float:
    """The best of several tries, in CPU time, so that other processes of a shared machine do not count."""
    best = float("inf")
    for _ in range(tries):
        started = time.process_time()
        read_contract(text, "contract.yaml")
        best = min(best, time.process_time() - started)
    return best * 1e3


def _peak_mib(text: str) -> float:
    tracemalloc.start()
    try:
        read_contract(text, "contract.yaml")
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def contract(n: int) -> str:
    """A contract of some size, of one of five families in turn."""
    return (_HEADS[n % len(_HEADS)] + _BODY).replace("NUMBER", str(n))


_HEADS = (
    "name: node_NUMBER\nversion: {major: 1, minor: 0, patch: 0}\nnode_type: REDUCER\ninput_model: ModelIn\n"
    "output_model: ModelOut\nstreaming: {mode: windowed, window_size_ms: 5000}\n",
    "node_id: node_NUMBER\nname: node_NUMBER\nversion: v1_0_0\nnode_type: reducer\nmetadata: {author: x}\n"
    "subcontracts: {caching: {enabled: true, ttl_ms: 1000}}\n",
    "name: node_NUMBER\ncontract_version: {major: 1, minor: 0, patch: 0}\nnode_type: REDUCER_GENERIC\n"
    "input_model: {name: ModelIn, module: p.m}\noutput_model: {name: ModelOut, module: p.m}\n",
    "name: node_NUMBER\ncontract_version: {major: 1, minor: 0, patch: 0}\nnode_type: reducer\n"
    "handler: {module: p.h, class: H, input_model: p.m.In}\ndescriptor: {purity: pure, timeout_ms: 30000}\n",
    "name: node_NUMBER\ncontract_version: {major: 1, minor: 0, patch: 0}\nnode_type: reducer\ninput_model: p.m.In\n"
    "output_model: p.m.Out\ndescriptor: {node_archetype: reducer, purity: pure}\n",
)
_BODY = (
    "description: Counts what was sold, by shop and by hour\n"
    "event_bus:\n  subscribe_topics: [onex.evt.shop.sold-NUMBER.v1]\n  publish_topics: [onex.evt.shop.counted-NUMBER.v1]\n"
    "dependencies:\n"
    + "".join(f"  - {{name: service_{n}, type: protocol, module: p.s{n}, version: '1.0.0'}}\n" for n in range(5))
    + "state_machine:\n  initial_state: s0\n  terminal_states: [s9]\n  states:\n"
    + "".join(
        f"    - {{state_name: s{n}, description: the state, is_terminal: {str(n == 9).lower()}}}\n" for n in range(10)
    )
    + "  transitions:\n"
    + "".join(
        f"    - {{from_state: s{n}, to_state: s{n + 1}, trigger: t{n}, conditions: [{{expression: 'count > {n}'}}]}}\n"
        for n in range(9)
    )
    + "performance: {max_ms: 100, memory_mb: 64}\ntesting: {unit: {coverage: 90}, golden: [a, b, c]}\n"
)
