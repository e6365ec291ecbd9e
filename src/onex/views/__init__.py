"""Values as JSON documents. Each function is pure; commands print what it returns, and an HTTP API can answer with it."""

from __future__ import annotations
