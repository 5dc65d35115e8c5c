"""zoo: any registered model, data set and metric, one command, plain PyTorch."""

__version__ = "0.1.0"
