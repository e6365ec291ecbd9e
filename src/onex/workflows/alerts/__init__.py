"""Alerts as workflows: ``onex_alert`` is one rule and who is told of it, ``onex_objectives`` the minutes of all objectives."""
