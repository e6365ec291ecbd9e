"""Orchestrations: the pure reducer that carries a plan of tasks out."""
