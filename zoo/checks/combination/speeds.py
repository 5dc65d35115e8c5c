"""Speeds: what a bench measured of each way in which a model can be computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from zoo.display import align, make_table, say
from zoo.models.layout import CHANNELS_LAST
from zoo.storage.removal import show_size

WAY = ("step", "layout", "threads")
RATES = ("training", "evaluation", "prediction")
PARTS = ("data", "forward", "backward", "update")
EAGER = "eager"
STEP = "parts of a training step"


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
    def layout(self) -> str:
        """The layout in words."""
        return "channels last" if self.memory_format == CHANNELS_LAST else self.memory_format

    @property
    def name(self) -> str:
        """The way in words."""
        return f"{self.mode}, {self.layout}, {self.threads} thread{'' if self.threads == 1 else 's'}"

    @property
    def way(self) -> tuple[str, ...]:
        """The way as cells of a table, with a star where it is that of a run."""
        return (f"{self.mode}{'*' if self.chosen else ' '}", self.layout, str(self.threads))


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
    def title(self) -> str:
        """What the rates are of."""
        size = f"batches of {self.batch_size}, {self.device}"
        return f"{self.model} on {self.dataset}, {size}: samples a second, * as in a run"

    @property
    def rates(self) -> list[tuple[str, ...]]:
        """Headings, then the samples a second of each way, and the most memory, as texts."""
        return [(*WAY, *RATES, "memory"), *map(_show_rates, self.speeds)]

    @property
    def parts(self) -> list[tuple[str, ...]]:
        """Headings, then the parts of a training step in percent, as texts."""
        return [(*WAY, *PARTS), *map(_show_parts, self.speeds)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)

    def __repr__(self) -> str:
        best = max(self.speeds, key=lambda speed: speed.training)
        return say("Bench", f"{self.model} on {self.dataset}", f"{best.training:,.0f} samples/s trained", best.name)

    def _repr_html_(self) -> str:
        rates = make_table(self.rates[1:], self.rates[0], caption=self.title)
        return rates + make_table(self.parts[1:], self.parts[0], caption=STEP)

    def __str__(self) -> str:
        return "\n".join([self.title, align(self.rates), STEP, align(self.parts)])


def _show_rates(speed: Speed) -> tuple[str, ...]:
    memory = "-" if speed.memory is None else show_size(speed.memory)
    return (*speed.way, *(f"{getattr(speed, kind):,.0f}" for kind in RATES), memory)


def _show_parts(speed: Speed) -> tuple[str, ...]:
    """A replayed or compiled step has no forward pass of its own."""
    shares = {part: f"{100 * share:.0f} %" for part, share in speed.shares.items()}
    if speed.mode != EAGER:
        shares["forward"] = "-"
    return (*speed.way, *(shares[part] for part in PARTS))
