"""A sample data set."""
