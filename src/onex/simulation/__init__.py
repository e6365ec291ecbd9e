"""The real engine over a real store on a virtual clock: every fault comes from one seed, and every promise is checked."""

from __future__ import annotations
