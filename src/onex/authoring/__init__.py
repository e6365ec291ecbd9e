"""A workflow in one Python file: what its author writes, and the contract that is derived from it."""
