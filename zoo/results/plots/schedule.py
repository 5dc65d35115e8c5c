"""Schedule: the learning rate of a training, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, ZooError
from zoo.records.history import Epoch
from zoo.registry.arguments import checked
from zoo.registry.settings import TrainConfig, list_settings
from zoo.results.plots.curves import add_panel
from zoo.results.plots.style import AXIS_COLOR, TEXT_COLOR, fit_text, make_figure, plot_style
from zoo.results.reading import Result, require_history

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP = 520, 240, 66, 24, 86, 66
"""Points: the panel, and the space around it."""

LOOKS: tuple[Mapping[str, Any], ...] = ({"color": "#0072B2"}, {"color": "#B23A00"})
"""Of the rate of the model and of that of its head."""

MAX_STEPS = 2_000_000
"""Steps of a training that is drawn, at most: the rate of each is found by the scheduler of the training."""


@checked
def plot_schedule(result: Result) -> Figure:
    """Draw the learning rate of a run over its steps: solid as far as it came, dashed where it did not.

    The head has a line of its own where it had a rate of its own. The rate of a plateau schedule is that of the epochs
    that the run recorded; that of others follows from its settings.

    Raises:
        UsageError: the result is no run, or its record does not say the settings and the steps of an epoch.
    """
    from zoo.training.schedules import list_rates

    history = require_history(result)
    config, steps = _read_training(result)
    done = len(history)
    seen = [_read_rate(epoch) for epoch in history] if config.schedule == "plateau" else None
    rates = list_rates(config, steps, seen=seen)
    if seen is not None:
        rates = [values[: done * steps] for values in rates]  # what it would have done later nobody knows
    with plot_style():
        from matplotlib.ticker import MaxNLocator

        width, height = WIDTH + LEFT + RIGHT, HEIGHT + BOTTOM + TOP
        figure = make_figure(width, height)
        box = (LEFT / width, BOTTOM / height, WIDTH / width, HEIGHT / height)
        axes = add_panel(figure, box, xlabel=f"step, {steps:,} an epoch")
        axes.set_ylabel("learning rate")
        lines = []
        for name, values, look in zip(("learning rate", "learning rate of the head"), rates, LOOKS, strict=False):
            ran = values[: done * steps]
            lines += axes.plot(range(1, len(ran) + 1), ran, **look, linewidth=1.5, label=name)
            if len(values) > len(ran):
                rest = range(len(ran), len(values) + 1)
                planned = f"{name}, not reached"
                lines += axes.plot(
                    rest, values[len(ran) - 1 :], **look, linewidth=1.2, linestyle=(0, (4, 1.5)), label=planned
                )
        if config.warmup:
            line = axes.axvline(config.warmup, color=AXIS_COLOR, linewidth=1, linestyle=":", label="end of the warm-up")
            lines.append(line)
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, max(2, len(rates[0])) * 1.02)
        over = axes.secondary_xaxis("top", functions=(_divide(steps), _divide(1 / steps)))
        over.set_xlabel("epoch")
        over.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
        over.set_color(TEXT_COLOR)
        figure.legend(
            handles=lines, loc="lower center", bbox_to_anchor=(0.5, 8 / height), ncols=2, frameon=False, fontsize=9
        )
        title = fit_text(f"{result.name}: {describe_schedule(config)}", 11, WIDTH)
        figure.suptitle(title, x=LEFT / width, y=1 - 8 / height, ha="left", va="top", fontsize=11)
    return figure


def _divide(steps: float) -> Callable[[Any], Any]:
    return lambda step: step / steps


def describe_schedule(config: TrainConfig) -> str:
    """Return a schedule in a few words."""
    warm = f", {config.warmup} steps of warm-up" if config.warmup else ""
    return f"{config.optimizer}, {config.schedule}{warm}"


def _read_training(result: Result) -> tuple[TrainConfig, int]:
    """Return the settings of a run and the steps of an epoch."""
    record = result.run_record
    told = record.train_config if record else {}
    if record is None or not record.steps or record.steps < 1 or not told:
        why = "its record does not say how many steps an epoch had, as those of older versions do not"
        raise UsageError(f"no schedule of {result.name or result.title}", why, "Train it again")
    known = {name: value for name, value in told.items() if name in list_settings()}
    try:
        config = TrainConfig(**known)
    except ZooError as error:
        raise UsageError(f"no schedule of {result.name or result.title}", f"its settings: {error}") from error
    total = record.steps * config.epochs
    if not config.warmup < total <= MAX_STEPS:
        why = f"its record says {total:,} steps, expected more than those of the warm-up and at most {MAX_STEPS:,}"
        raise UsageError(f"no schedule of {result.name or result.title}", why)
    return config, record.steps


def _read_rate(epoch: Epoch) -> float:
    rate = epoch.get("lr")
    return rate if rate is not None and isfinite(rate) else float("nan")
