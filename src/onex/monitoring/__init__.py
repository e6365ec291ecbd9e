"""What an operator sees of a process that runs an engine: resources, metrics for Prometheus, traces."""
