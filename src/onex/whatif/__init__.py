"""What if: recorded histories folded on other code, and where they come out otherwise. Nothing is fired."""

from __future__ import annotations
