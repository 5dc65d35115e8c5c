"""Data: splits, samples and batches."""
