"""A sample metric."""
