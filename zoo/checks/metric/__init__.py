"""Checks of metrics."""
