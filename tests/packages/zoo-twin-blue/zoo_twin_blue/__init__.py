"""A sample that shares names with zoo-twin-red and with zoo itself."""
