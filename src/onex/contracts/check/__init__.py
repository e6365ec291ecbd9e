"""What a contract says about itself that cannot be true."""

from __future__ import annotations
