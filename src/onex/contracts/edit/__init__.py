"""What an editor needs while a contract is written: completion, JSON Schema, safe fixes."""

from __future__ import annotations
