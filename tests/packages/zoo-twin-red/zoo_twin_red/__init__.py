"""A sample that shares names with zoo-twin-blue."""
