"""Makes an app of a user's folder: ``load_app(path)``. Only this room imports code that was not installed with it."""

from __future__ import annotations

from .load import App, LoadedWorkflow, load_app, load_compute

__all__ = ["App", "LoadedWorkflow", "load_app", "load_compute"]
