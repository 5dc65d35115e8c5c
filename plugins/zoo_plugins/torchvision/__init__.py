"""The classification models of torchvision, with random weights."""
