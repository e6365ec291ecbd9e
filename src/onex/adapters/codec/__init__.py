"""Encryption at rest, between the engine and any store."""
