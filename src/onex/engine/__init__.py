"""The doing: one call, two loops, and what keeps them honest. Knows ports; never YAML, never a driver."""
