"""A room of benches for the test of the command."""
