"""What the engine does with a bus: messages become actions, and what was committed becomes events."""

from __future__ import annotations
