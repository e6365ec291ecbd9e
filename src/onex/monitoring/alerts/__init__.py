"""Alerts of a running engine: what is measured becomes actions of ``onex_alert`` and ``onex_objectives``, and is shown so."""
