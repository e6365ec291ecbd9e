"""Schedules of an app: each is one instance, whose next due time is a timer of its own."""
