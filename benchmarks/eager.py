"""The baseline trained by a loop written by hand, as quick as plain eager torch has it: a whole program.

All images are made float inputs once and stay in memory; each batch is gathered from there. It reads, trains, evaluates
after each epoch and saves what `zoo run` does, with no record, no checks and no proof of what it saved.

Run as a script: `python benchmarks/eager.py DATA_DIR [EPOCHS]`. DATA_DIR holds `FashionMNIST/raw` as torchvision lays
it out. The last line is the accuracy on the test images.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torchvision.datasets import FashionMNIST

BATCH, LR, SEED = 32, 0.1, 42


def load(root: str, *, train: bool) -> tuple[Tensor, Tensor]:
    """Return inputs `(N, 1, 28, 28)` from 0 to 1 and targets `(N,)`."""
    split = FashionMNIST(root, train=train)
    return split.data.unsqueeze(1) / 255, split.targets


def main(root: str, epochs: int) -> None:
    """Load, train, evaluate, save."""
    inputs, targets = load(root, train=True)
    test_inputs, test_targets = load(root, train=False)
    torch.manual_seed(SEED)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Linear(10, 10))
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    accuracy = 0.0
    for epoch in range(epochs):
        model.train()
        total, order = 0.0, torch.randperm(len(inputs))
        for start in range(0, len(inputs), BATCH):
            chosen = order[start : start + BATCH]
            loss = loss_fn(model(inputs[chosen]), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        model.eval()
        with torch.inference_mode():
            logits = model(test_inputs)
            test_loss = loss_fn(logits, test_targets).item()
            accuracy = (logits.argmax(dim=1) == test_targets).float().mean().item()
        print(f"epoch {epoch + 1}: loss {total / len(inputs):.4f}, test loss {test_loss:.4f}, accuracy {accuracy:.4f}")
    with TemporaryDirectory() as folder:
        torch.save(model.state_dict(), Path(folder, "weights.pt"))
    print(accuracy)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3)
