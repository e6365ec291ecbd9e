"""A app simulation: a user's app under every fault we know, on the real engine, before anybody depends on it.

What a ``simulation.py`` and a saved test need is named here; ``onex simulate`` does the rest.
"""

from __future__ import annotations

from .saved_test import Broken, play
from .schedule import Act, Hit, Script
from .world import Effect, Taken, World, at_end

__all__ = ["Act", "Broken", "Effect", "Hit", "Script", "Taken", "World", "at_end", "play"]
