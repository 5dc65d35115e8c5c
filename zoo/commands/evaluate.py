"""`zoo evaluate`: saved weights on a data set."""

from __future__ import annotations

from typing import Any

import click

from zoo.commands.options import calm_threads, discover, output_options, plugin_options, read_metric_params, read_params
from zoo.commands.output import escape, write_json, write_table


@click.command("evaluate")
@click.argument("reference", metavar="WEIGHTS")
@click.option("--dataset", metavar="NAME", help="The data set.  [the one of the training]")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="A metric; repeatable.  [accuracy]")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps ...  [auto]")
@click.option("--threads", metavar="N", help="CPU threads.  [from the work of a batch]")
@click.option("--workers", metavar="N", help="Processes that read data sets which are not tensors.  [0]")
@click.option("--dataset-param", "dataset_params", multiple=True, metavar="K=V", help="A param of the data set.")
@click.option("--metric-param", "metric_params", multiple=True, metavar="METRIC.K=V", help="A param of a metric.")
@click.option("--data-dir", metavar="DIR", help="Folder of the data sets.  [ZOO_DATA_DIR, or one in ZOO_HOME]")
@click.option("--runs-dir", metavar="DIR", help="Folder of the runs.  [ZOO_RUNS_DIR, or ./runs]")
@click.option("--offline", is_flag=True, default=None, help="Never use the network. [ZOO_OFFLINE]")
@plugin_options
@output_options
def evaluate_command(
    reference: str,
    metrics: tuple[str, ...],
    dataset_params: tuple[str, ...],
    metric_params: tuple[str, ...],
    plugins: tuple[str, ...],
    disabled: tuple[str, ...],
    as_json: bool,
    debug: bool,
    **settings: Any,
) -> None:
    """Evaluate weights on a data set.

    WEIGHTS is a file, a run folder, @last, @best, MODEL@DATASET or the name of weights. Loss and metrics are those of
    the whole test split, whatever the batch size.
    """
    given_dataset_params = read_params("--dataset-param", dataset_params)
    given_metric_params = read_metric_params("--metric-param", metric_params)
    calm_threads()
    from zoo.evaluation import evaluate

    result = evaluate(
        reference,
        metrics=metrics or ("accuracy",),
        dataset_params=given_dataset_params,
        metric_params=given_metric_params,
        registry=discover(plugins, disabled),
        progress=True,
        **settings,
    )
    if as_json:
        write_json(result.to_dict())
        return
    facts = {"model": result.model, "weights": escape(str(result.weights)), "dataset": result.dataset}
    scores = {name: f"{value:.6g}" for name, value in result.metrics.items()}
    write_table(list({**facts, "samples": str(result.samples), **scores}.items()))
