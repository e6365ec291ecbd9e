"""Leaves: one file, one outside thing. They know ports and kernel; only wiring, benches and the yard know them."""
