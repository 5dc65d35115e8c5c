"""The training of the PyTorch course that zoo grew from, by hand, the way the course does it: the baseline to beat.

Run as a script it is the course's whole program: `python benchmarks/course.py DATA_DIR [EPOCHS]`. DATA_DIR holds
`FashionMNIST/raw` as torchvision lays it out.
"""

from __future__ import annotations

import sys
from timeit import default_timer

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import ToTensor
from tqdm.auto import tqdm


class FashionMNISTModelV0(nn.Module):
    """The course's first model."""

    def __init__(self, input_shape: int, hidden_units: int, output_shape: int) -> None:
        super().__init__()
        self.layer_stack = nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_features=input_shape, out_features=hidden_units),
            nn.Linear(in_features=hidden_units, out_features=output_shape),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.layer_stack(x)


def accuracy_fn(y_true: torch.Tensor, y_pred: torch.Tensor) -> float:
    """Return the percentage of equal labels."""
    return torch.eq(y_true, y_pred).sum().item() / len(y_pred) * 100


def train_epoch(model: nn.Module, loader: DataLoader, loss_fn: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """Train for one epoch as the course does; return the mean of the batches' losses."""
    train_loss = 0
    for batch, (x, y) in enumerate(loader):
        model.train()
        y_pred = model(x)
        loss = loss_fn(y_pred, y)
        train_loss += loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if batch % 400 == 0:
            tqdm.write(f"Looked at {batch * len(x)}/{len(loader.dataset)} samples", file=sys.stderr)
    return float(train_loss / len(loader))


def main(root: str, epochs: int) -> None:
    """Load, train, evaluate."""
    train_data = datasets.FashionMNIST(root=root, train=True, download=False, transform=ToTensor())
    test_data = datasets.FashionMNIST(root=root, train=False, download=False, transform=ToTensor())
    train_loader = DataLoader(train_data, batch_size=32, shuffle=True)
    test_loader = DataLoader(test_data, batch_size=32, shuffle=False)
    torch.manual_seed(42)
    model = FashionMNISTModelV0(input_shape=784, hidden_units=10, output_shape=len(train_data.classes))
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(params=model.parameters(), lr=0.1)
    torch.manual_seed(42)
    start = default_timer()
    for _ in tqdm(range(epochs)):
        train_loss = train_epoch(model, train_loader, loss_fn, optimizer)
        test_loss, test_acc = 0.0, 0.0
        model.eval()
        with torch.inference_mode():
            for x, y in test_loader:
                test_pred = model(x)
                test_loss += loss_fn(test_pred, y)
                test_acc += accuracy_fn(y_true=y, y_pred=test_pred.argmax(dim=1))
        print(
            f"Train loss: {train_loss:.5f} | Test loss: {test_loss / len(test_loader):.5f}, "
            f"Test acc: {test_acc / len(test_loader):.2f}%"
        )
    print(f"Train time on cpu: {default_timer() - start:.3f} seconds")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3)
