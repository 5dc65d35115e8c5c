"""zoo's own models."""
