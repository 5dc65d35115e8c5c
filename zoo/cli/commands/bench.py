"""`zoo bench`: how fast a model is on a data set."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli import options
from zoo.cli.command import Command
from zoo.cli.output import escape, write_json, write_note, write_result, write_table
from zoo.cli.torch_import import prepare_for_torch


@click.command("bench", cls=Command)
@click.option("--model", metavar="NAME", help="The model.  [baseline]")
@click.option("--dataset", metavar="NAME", help="The data set.  [shapes]")
@options.source_options
@options.metric_option
@click.option("--seconds", type=float, default=1.0, metavar="S", help="Of each measurement.  [1]")
@click.option("--trace", metavar="FILE", help="Write the profile of a few steps: a .json for ui.perfetto.dev.")
@click.option("--output", metavar="FILE", help="Draw the speeds, as PNG, SVG or PDF.")
@options.study_setting_options
@options.param_options()
@options.place_options("data_dir", "offline")
@options.plugin_options
@options.output_options
def bench_command(output: str | None, discover: options.Discover, as_json: bool, **settings: Any) -> None:
    """Measure how fast a model is trained on a data set, evaluated and asked for predictions.

    Each way is measured that the settings leave open: eager and captured steps, with --compile compiled ones, both
    layouts, one CPU thread and all. Rates are samples a second; a run takes the way with the star. Nothing is kept.
    """
    if output is not None:
        from zoo.results.plots.style import find_format

        find_format(output)
    prepare_for_torch()
    from zoo.checks.combination.bench import bench, check_place
    from zoo.checks.combination.speeds import RATES, STEP

    if output is not None:
        check_place(output)
    found = bench(registry=discover(), **{name: value for name, value in settings.items() if value is not None})
    if output is not None:
        from zoo.results.plots.speed import plot_speeds
        from zoo.results.plots.style import save_figure

        kinds = {kind: [getattr(speed, kind) for speed in found.speeds] for kind in RATES}
        names = [f"{'* ' if speed.chosen else ''}{speed.name}" for speed in found.speeds]
        save_figure(plot_speeds(found.title, names, kinds), output)
    if as_json:
        write_json(found.to_dict())
    else:
        write_result(escape(found.title))
        write_table(found.rates, numbers=True)
        write_result(f"\n{STEP}")
        write_table(found.parts, numbers=True)
    for what, path in (("picture", output), ("trace", settings["trace"])):
        if path is not None:
            write_note(f"{what}: {escape(path)}")
