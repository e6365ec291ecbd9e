"""What Python code and state machines do, found by reading them. Nothing is imported or run."""

from __future__ import annotations
