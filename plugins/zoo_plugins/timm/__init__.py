"""The models of timm, with random weights."""
