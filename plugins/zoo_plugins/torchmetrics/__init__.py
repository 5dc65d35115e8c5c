"""Metrics of TorchMetrics for classification."""
