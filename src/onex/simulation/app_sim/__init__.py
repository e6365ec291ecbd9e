"""Simulation of a user's app: the real engine under every fault we know, before anybody depends on the app.

A ``simulation.py`` and a saved test import from here. ``onex simulate`` does the rest.
"""

from __future__ import annotations

from .saved_test import Broken, play
from .schedule import Act, Hit, Script
from .world import Effect, Taken, World, at_end

__all__ = ["Act", "Broken", "Effect", "Hit", "Script", "Taken", "World", "at_end", "play"]
