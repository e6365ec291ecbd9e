"""A user's folder becomes an app: ``load_app(path)``. The only room that imports code it was not installed with."""

from __future__ import annotations

from .load import App, LoadedWorkflow, load_app, load_compute

__all__ = ["App", "LoadedWorkflow", "load_app", "load_compute"]
