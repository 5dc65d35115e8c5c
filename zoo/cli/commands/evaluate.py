"""`zoo evaluate`: saved weights on a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import options
from zoo.cli.command import Command
from zoo.cli.launch import spread
from zoo.cli.options import Discover
from zoo.cli.output import escape, write_json, write_result, write_table
from zoo.cli.torch_import import prepare_for_torch

if TYPE_CHECKING:
    from zoo.training.confusion import ClassScore


@click.command("evaluate", cls=Command)
@click.argument("reference", metavar="WEIGHTS")
@click.option("--per-class", is_flag=True, help="Show the scores of each class and the most confused pairs.")
@click.option("--dataset", metavar="NAME", help="The data set.  [the one of the training]")
@options.metric_option
@click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps ...  [auto]")
@options.speed_options
@click.option("--workers", metavar="N", help="Processes that read data sets which are not tensors.  [auto]")
@click.option("--processes", metavar="N", help="Processes of this machine that each compute a part.  [1]")
@options.param_options("dataset", "metric")
@click.option("--course-style", is_flag=True, help="Show loss and accuracy as the course averages them, too.")
@options.place_options()
@options.plugin_options
@options.output_options
def evaluate_command(reference: str, per_class: bool, discover: Discover, as_json: bool, **settings: Any) -> None:
    """Evaluate weights on a data set.

    WEIGHTS is a file, a run folder, @last, @best, MODEL@DATASET or the name of weights. Loss and metrics are those of
    the whole test split, whatever the batch size.
    """
    prepare_for_torch()
    from zoo.data.ranks import find_ranks
    from zoo.training.confusion import list_confusions
    from zoo.training.evaluation import evaluate

    if spread(settings["processes"]):
        return
    settings["processes"] = settings["processes"] or find_ranks().count
    result = evaluate(reference, registry=discover(), progress=True, **settings)
    outcomes = result.outcomes
    confused = list_confusions(outcomes.matrix, outcomes.class_names) if per_class else []
    if as_json:
        data = result.to_dict()
        scores = data.pop("per_class")
        if per_class:
            pairs = [
                {"target": target, "predicted": predicted, "count": count} for target, predicted, count in confused
            ]
            data |= {"per_class": scores, "confusion": outcomes.matrix.tolist(), "most_confused": pairs}
        write_json(data)
        return
    facts = {"model": result.model, "weights": escape(str(result.weights)), "dataset": result.dataset}
    values = {name: f"{value:.6g}" for name, value in result.metrics.items()}
    write_table(list({**facts, "samples": str(result.samples), **values}.items()))
    if per_class:
        _write_classes(result.per_class)
        for target, predicted, count in confused:
            support = next(score.support for score in result.per_class if score.name == target)
            write_result(f"{count} of {support} {escape(target)} were taken for {escape(predicted)}")


def _write_classes(per_class: Sequence[ClassScore]) -> None:
    """Print a row for each class; a score that is 0 / 0 is a dash."""
    rows: list[tuple[str, ...]] = [("class", "precision", "recall", "f1", "support")]
    for score in per_class:
        cells = ("-" if number is None else f"{number:.4f}" for number in (score.precision, score.recall, score.f1))
        rows.append((escape(score.name), *cells, str(score.support)))
    write_result("")
    write_table(rows, numbers=True)
    write_result("")
