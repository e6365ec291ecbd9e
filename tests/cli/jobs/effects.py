"""A horn that sounds once there is one, and a worker that gives back what it was given."""

from __future__ import annotations

import time
from pathlib import Path

from onex import EffectFailed, ModelIntent, effect

from .payloads import Blow, Work, Worked


@effect("horn")
def blow(intent: ModelIntent[Blow]) -> None:
    if not Path("horn").exists():
        raise EffectFailed("there is no horn")


@effect("worker")
def work(intent: ModelIntent[Work]) -> Worked:
    if intent.payload.text == "slow":
        time.sleep(600)
    return Worked(text=intent.payload.text)
