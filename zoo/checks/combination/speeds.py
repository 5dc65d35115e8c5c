"""Speeds: what a bench measured of each way in which a model can be computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from zoo.display import align, make_table, say
from zoo.models.layout import CHANNELS_LAST
from zoo.storage.removal import show_size

HEADINGS = ("step", "layout", "threads", "training", "evaluation", "prediction", "peak memory")
PARTS = ("data", "forward", "backward", "update")


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What one way to compute came to.

    Fields:
        mode: How a step ran: `eager`, `captured` or `compiled`.
        memory_format: `contiguous` or `channels_last`.
        threads: The CPU threads.
        chosen: Whether a run with the same settings is computed so.
        training: Samples a second, with the reading of the batches.
        evaluation: Samples a second, with the metrics.
        prediction: Images a second that a `Predictor` is asked for, from raw images to probabilities.
        memory: The most bytes that the process had in memory meanwhile, on a GPU those of tensors; None where the
            system does not say.
        shares: The shares of `data`, `forward`, `backward` and `update` in the time of a training step. The loss is
            under `backward`, and in a captured or compiled step the forward pass too, in a CUDA graph all of it.
    """

    mode: str
    memory_format: str
    threads: int
    training: float
    evaluation: float
    prediction: float
    memory: int | None
    shares: dict[str, float]
    chosen: bool = False

    @property
    def name(self) -> str:
        """The way in words."""
        layout = "channels last" if self.memory_format == CHANNELS_LAST else self.memory_format
        return f"{self.mode}, {layout}, {self.threads} thread{'' if self.threads == 1 else 's'}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Bench:
    """How fast a model is on a data set.

    Fields:
        model: The model.
        dataset: The data set.
        device: The device.
        batch_size: Samples of a training batch.
        speeds: What was measured, one way to compute after the other.
    """

    model: str
    dataset: str
    device: str
    batch_size: int
    speeds: tuple[Speed, ...]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Headings, then what was measured, as texts; rates are in samples a second, parts in percent of a step."""
        return [(*HEADINGS, *PARTS, ""), *map(_show, self.speeds)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)

    def __repr__(self) -> str:
        best = max(self.speeds, key=lambda speed: speed.training)
        return say("Bench", f"{self.model} on {self.dataset}", f"{best.training:,.0f} samples/s trained", best.name)

    def _repr_html_(self) -> str:
        return make_table(self.rows[1:], self.rows[0], caption=f"{self.model} on {self.dataset}: samples a second")

    def __str__(self) -> str:
        return f"{self.model} on {self.dataset}, batches of {self.batch_size}, {self.device}\n{align(self.rows)}"


def _show(speed: Speed) -> tuple[str, ...]:
    rates = (f"{rate:,.0f}" for rate in (speed.training, speed.evaluation, speed.prediction))
    memory = "-" if speed.memory is None else show_size(speed.memory)
    shares = (f"{100 * speed.shares[part]:.0f} %" for part in PARTS)
    layout = "channels last" if speed.memory_format == CHANNELS_LAST else speed.memory_format
    return (speed.mode, layout, str(speed.threads), *rates, memory, *shares, "a run" if speed.chosen else "")
