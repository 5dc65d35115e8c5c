"""zoo's own data sets."""
