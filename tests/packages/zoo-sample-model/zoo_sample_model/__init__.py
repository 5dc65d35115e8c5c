"""A sample model."""
