"""A campaign: the real engine over a real store in the seeded loop, hurt at every port, and then asked what it kept."""

from __future__ import annotations
