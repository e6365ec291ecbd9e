"""The pure room: what a step is, and every decision that needs no world. No I/O, clock, randomness or async."""
