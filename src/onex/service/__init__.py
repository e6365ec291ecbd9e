"""The HTTP API of a store and its page: ``onex serve``. A process of its own, beside the engine (extra ``server``)."""

from __future__ import annotations
