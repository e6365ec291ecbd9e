"""A new version of an app that goes live in steps, is judged in each, and goes back by itself."""
