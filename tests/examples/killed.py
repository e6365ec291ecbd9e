"""An example that runs in a process which is killed in the middle, and what the outside has seen of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.laws.tree import ROOT

EXAMPLES = ROOT / "examples"


class ActionToSend(NamedTuple):
    """``issued_at`` is an ISO time, '' for now."""

    key: str
    trigger: str
    payload: dict[str, object]
    issued_at: str = ""


class Seen(NamedTuple):
    """``ended[key]`` is the last state of an instance. ``keys[target]`` are the idempotency keys that the target got, in order of
    their first call, and ``payloads[key]`` what came with each. ``again[target]`` counts calls with a key that had come before."""

    ended: dict[str, dict[str, Any]]
    keys: dict[str, list[str]]
    payloads: dict[str, dict[str, Any]]
    again: dict[str, int]


def over_kills(
    app: Path, folder: Path, actions: Sequence[ActionToSend], until: dict[str, str], kills: Sequence[str]
) -> Seen:
    """Runs ``actions`` on the app until each instance stands at its status. One process for each of ``kills``, killed at that
    call (``TARGET:N``), and one that comes to the end. Every action is sent by each of them, under the same id."""
    world = folder / "world.jsonl"
    last = ""
    for killed_at in (*kills, ""):
        asked = {
            "app": str(app), "store": f"sqlite:///{folder / 'store.db'}", "world": str(world), "killed_at": killed_at,
            "actions": actions, "until": until,
        }  # fmt: skip
        child = subprocess.run(
            [sys.executable, "-m", "tests.examples.acting_child", json.dumps(asked)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        wanted = -signal.SIGKILL if killed_at else 0
        assert child.returncode == wanted, f"killed at {killed_at}: {child.returncode}: {child.stderr[-2000:]}"
        last = child.stdout
    return _seen(json.loads(last), world)


def _seen(ended: dict[str, dict[str, Any]], world: Path) -> Seen:
    keys: dict[str, list[str]] = defaultdict(list)
    payloads: dict[str, dict[str, Any]] = {}
    again: Counter[str] = Counter()
    for line in world.read_text().splitlines():
        target, key, payload = json.loads(line)
        if key in payloads:
            again[target] += 1
            assert (payloads[key], key in keys[target]) == (payload, True), "a key stands for one thing"
        else:
            payloads[key] = payload
            keys[target].append(key)
    return Seen(ended, dict(keys), payloads, dict(again))
