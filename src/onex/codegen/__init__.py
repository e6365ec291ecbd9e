"""Text of a workflow written for its author: a new one, or what a contract names and its Python lacks."""
