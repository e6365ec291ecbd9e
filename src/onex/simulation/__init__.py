"""The real engine over a real store on a virtual clock: a seed decides every fault, and every promise is checked."""

from __future__ import annotations
