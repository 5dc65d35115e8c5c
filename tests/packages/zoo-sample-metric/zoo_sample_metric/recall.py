"""Recall by class."""

from __future__ import annotations

import torch


class ClassRecall:
    """Of the samples of each class, how many were found; `lowest` is the least of these shares."""

    def __init__(self, *, num_classes: int, prefix: str = "class") -> None:
        self.num_classes, self.prefix = num_classes, prefix
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.found = torch.zeros(self.num_classes, dtype=torch.int64)
        self.total = torch.zeros(self.num_classes, dtype=torch.int64)

    def update(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Take in one batch."""
        hits = targets[logits.argmax(dim=1) == targets]
        self.found += torch.bincount(hits.cpu(), minlength=self.num_classes)
        self.total += torch.bincount(targets.cpu(), minlength=self.num_classes)

    def compute(self) -> dict[str, float]:
        """Return the share of each class that has samples, and the lowest."""
        shares = {
            f"{self.prefix}-{number}": found / total
            for number, (found, total) in enumerate(zip(self.found.tolist(), self.total.tolist(), strict=True))
            if total
        }
        return {**shares, "lowest": min(shares.values())}
