from __future__ import annotations

import os

from onex import compute

from .payloads import Did, Thinks, raises


@compute("thinks")
def thinks(task: Thinks) -> Did:
    raises(task.what)
    if task.what == "ends its process":
        os._exit(1)
    return None if task.what == "nothing" else Did(what=task.what)  # type: ignore[return-value]
