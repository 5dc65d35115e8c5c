"""Sample data sets with files."""
