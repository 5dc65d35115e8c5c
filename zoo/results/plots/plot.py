"""Plot: from references to weights to a figure of their training or of their predictions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.data.samples import choose_samples
from zoo.errors import UnknownNameError, UsageError, closest
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.places import open_places
from zoo.results.plots.confusion import plot_confusion
from zoo.results.plots.curves import plot_curves
from zoo.results.plots.images import find_wrong, plot_predictions, plot_wrong
from zoo.results.plots.schedule import plot_schedule
from zoo.results.plots.style import check_grid, plot_style
from zoo.results.reading import gather_samples
from zoo.results.selection import select_results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("curves", "schedule", "confusion", "predictions", "wrong")


@checked
def plot(
    references: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    kind: str = "curves",
    *,
    grid: tuple[int, int] = (3, 3),
    seed: int = 42,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
    progress: bool = False,
) -> Figure:
    """Draw a figure of one kind. References are those of `load`: any number for `curves`, else one.

    `curves` are loss and metric by epoch; `schedule` is the learning rate by step; `confusion` is the confusion matrix
    of the test split; `predictions` are test images that `seed` chooses, `wrong` the most wrong ones, both in a `grid`
    of rows and columns. See the functions `plot_curves`, `plot_schedule`, `plot_confusion`, `plot_predictions` and
    `plot_wrong`. Of several paths, those without curves are left out with a warning.

    Raises:
        UsageError: matplotlib is missing, or there is nothing to draw: curves of weights without their run, mistakes of
            a model without any.
        ZooError: see `evaluate`, which finds the predictions that no run kept.
    """
    if kind not in KINDS:
        fix = "" if closest(kind, KINDS) else f"Use one of: {', '.join(KINDS)}"
        raise UnknownNameError("kind of picture", kind, KINDS, fix=fix)
    wanted = [references] if isinstance(references, str | os.PathLike) else list(references)
    if not wanted or (kind != "curves" and len(wanted) != 1):
        expected = "at least one reference" if kind == "curves" else "one reference"
        raise UsageError(f"{kind}: expected {expected}, got {len(wanted)}")
    count = check_grid(grid)
    with plot_style():
        pass  # nothing is evaluated for a picture that cannot be drawn
    places = open_places(registry, plugins, data_dir=data_dir, runs_dir=runs_dir, offline=offline)
    results = select_results(wanted, places, curves=kind in ("curves", "schedule"), progress=progress).results
    outcomes = results[0].outcomes
    if outcomes is None:
        return plot_curves(results) if kind == "curves" else plot_schedule(results[0])
    if kind == "confusion":
        return plot_confusion(outcomes)
    if kind == "predictions":
        indices = choose_samples(len(outcomes.targets), count, seed)
        return plot_predictions(gather_samples(results[0], indices, places), outcomes, indices, columns=grid[1])
    indices = find_wrong(outcomes, count)
    if not indices:
        raise UsageError(f"{results[0].name} has no mistakes to show", f"all {len(outcomes.targets)} are right")
    return plot_wrong(gather_samples(results[0], indices, places), outcomes, indices, columns=grid[1])
