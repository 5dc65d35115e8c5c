"""The result of a run: what training a model gave, for the program that asked for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zoo.display import make_table, say, say_scores
from zoo.records.history import Epoch
from zoo.records.origins import RecipeOrigin
from zoo.records.plain import to_json_table
from zoo.records.scores import ExpectedScore


@dataclass(frozen=True, kw_only=True, repr=False)
class RunResult:
    """What a run gave: `metrics` are those after the last epoch, `seconds` the time of training and evaluating.

    `verdict` says what is wrong with the trained model, in sentences; it is empty where all is well. `trend` says
    likewise where its training was going: still improving, overfitting or underfitting. With a validation split the
    weights are those of the `best` epoch, whose scores on it are `validation`. `recipe` is the one that was followed;
    `expected` has its scores beside those of the run, where that was asked for.
    """

    run: Path
    weights: Path
    model: str
    dataset: str
    device: str
    threads: int
    seed: int
    params: dict[str, Any]
    dataset_params: dict[str, Any]
    train_config: dict[str, Any]
    metrics: dict[str, float]
    history: list[Epoch]
    seconds: float
    verdict: tuple[str, ...] = ()
    trend: tuple[str, ...] = ()
    recipe: RecipeOrigin | None = None
    expected: tuple[ExpectedScore, ...] = ()
    validation: dict[str, float] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return to_json_table({**asdict(self), "run": str(self.run), "weights": str(self.weights)})

    def __repr__(self) -> str:
        count = len(self.history)
        epochs = f"{count} epoch{'' if count == 1 else 's'} in {self.seconds:.2f} s on {self.device}"
        return say("RunResult", f"{self.model} on {self.dataset}", say_scores(self.metrics), epochs, run=self.run.name)

    def _repr_html_(self) -> str:
        scores = [name for name in self.metrics if name != "loss"]
        minimised = next(iter(self.history[0]["train"])) if self.history else "loss"
        rows = [
            (
                epoch["epoch"],
                f"{epoch['train'][minimised]:.4f}",
                f"{epoch['test']['loss']:.4f}",
                *(f"{epoch['test'][name]:.4f}" for name in scores),
                f"{sum(epoch['seconds'].values()):.2f} s",
            )
            for epoch in self.history
        ]
        heading = ("epoch", f"train {minimised}", "test loss", *scores, "time")
        caption = f"{self.model} on {self.dataset}, seed {self.seed}: {say_scores(self.metrics)}"
        return make_table(rows, heading, caption=caption) + make_table([("weights", self.weights)])
