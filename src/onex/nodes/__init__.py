"""The four kinds of node: effect, compute, reducer, orchestrator; and what their functions may look like."""
