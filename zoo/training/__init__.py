"""Training: from names and settings to epochs, scores and a record."""
