"""zoo's own metrics."""
