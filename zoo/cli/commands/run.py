"""`zoo run`: train, evaluate, save."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from zoo.cli import options
from zoo.cli.command import Command
from zoo.cli.ending import leaving
from zoo.cli.findings import list_estimates
from zoo.cli.launch import spread
from zoo.cli.options import Discover
from zoo.cli.output import escape, write_json, write_note, write_result
from zoo.cli.suggestions import suggest_next
from zoo.display import say_device
from zoo.errors import UnexpectedScoreError, UsageError
from zoo.records.config import RunConfig, read_config
from zoo.records.history import Epoch, watched_scores, watched_split
from zoo.records.plain import to_json_data
from zoo.records.result import RunResult
from zoo.records.scores import EXACT, OFF


@click.command("run", cls=Command)
@click.option("--model", metavar="NAME", help="The model.  [that of --init, or baseline]")
@click.option("--dataset", metavar="NAME", help="The data set.  [that of --init, or shapes]")
@click.option("--init", metavar="WEIGHTS", help="Start from what fits of these weights.")
@click.option(
    "--freeze",
    multiple=True,
    metavar="PATTERN",
    help="Do not train parameters of such names; repeatable; none for none.  [those frozen in --init]",
)
@options.source_options
@click.option("--expect", is_flag=True, help="Compare the scores with those that the recipe expects.")
@options.metric_option
@options.setting_options
@click.option("--seeds", metavar="N", help="Train N times, each with the next seed, one run folder each.")
@options.param_options("model", "dataset", "metric")
@click.option("--log", multiple=True, metavar="NAME", help="A logger that is told of the run; repeatable.")
@options.param_options("logger")
@options.pace_options
@click.option("--dry-run", is_flag=True, help="Print what would be done, as a config file, and what it takes.")
@click.option("--course-style", is_flag=True, help="Show loss and accuracy as the course averages them, too.")
@options.place_options()
@options.plugin_options
@options.output_options
@leaving
def run_command(
    freeze: tuple[str, ...], discover: Discover, seeds: str | None, dry_run: bool, as_json: bool, **settings: Any
) -> None:
    """Train a model on a data set, evaluate it and save its weights.

    What is not given comes from --config, then from --recipe, then from the model's recommendation (see zoo show
    MODEL), then from the defaults in brackets.
    """
    from zoo.training import run

    show = make_shortener()
    registry = discover()
    settings |= {
        "freeze": None if not freeze else [] if freeze == ("none",) else freeze,
        "log": settings["log"] or None,
        "registry": registry,
    }
    told = read_config(settings["config"]) if settings["config"] else RunConfig()
    asked = seeds or told.seeds
    if settings["expect"] and asked is not None:
        raise UsageError("--expect and several seeds were both asked for", fix="A recipe's scores are of one run")
    if dry_run:
        _show_plan({**settings, "seeds": seeds}, as_json=as_json)
        return
    if spread(settings["processes"] or told.train.get("processes")):
        return
    settings |= {"progress": True, "on_epoch": write_epoch}
    if asked is not None:
        del settings["expect"]
        _run_seeds(asked, settings, show, as_json=as_json)
        return
    result = run.run(**settings)
    if as_json:
        write_json(result.to_dict())
        _refuse_off(result)
        return
    show_result(result, show, untrained="evaluated as it starts" if settings["init"] else "evaluated untrained")
    _tell_expected(result)
    given = {**click.get_current_context().params, **settings}
    for command, purpose in suggest_next(Path(show(result.run)).parent, registry, given):
        write_note(f"next: {escape(command)}  # {purpose}")
    _refuse_off(result)


def show_result(result: RunResult, show: Callable[[Path], str], *, untrained: str = "evaluated untrained") -> None:
    """Print what a run gave; `untrained` is what one of no epochs did."""
    count = len(result.history)
    trained = f"trained {count} epoch{'' if count == 1 else 's'}" if count else untrained
    where = say_device(result.device, result.threads, result.train_config)
    write_result(f"{_show_scores(result)}\n{trained} in {result.seconds:.2f} s on {where}")
    write_result(f"weights: {escape(show(result.weights))}")
    _tell_average(result)
    _tell_choice(result)


def _show_plan(settings: dict[str, Any], *, as_json: bool) -> None:
    """Print what a run would do, as a config file, and what it takes."""
    from zoo.checks.combination.preview import dry_run
    from zoo.training.interval import read_pace

    read_pace(settings.pop("checkpoint_every"), settings.pop("max_time"), settings.pop("rank_timeout"))
    preview = dry_run(**settings)
    if as_json:
        write_json(preview.to_dict())
        return
    rows = list_estimates(preview.estimates) if preview.estimates else []
    write_result(preview.to_config("command line", [preview.data, *(f"{name}: {text}" for name, text in rows)]))


def _tell_expected(result: RunResult) -> None:
    """Print each score that the recipe expects beside the one of the run."""
    for score in result.expected:
        got = "none" if score.got is None else f"{score.got:.6g}"
        tolerance = f" (tolerance {score.tolerance:g})" if score.verdict != EXACT else ""
        write_result(f"{escape(score.name)}: expected {score.expected:.6g}, got {got}: {score.verdict}{tolerance}")


def _refuse_off(result: RunResult) -> None:
    """Let a run end with an exit code of its own where a score is not what its recipe expects."""
    off = [score.name for score in result.expected if score.verdict == OFF]
    if off:
        raise UnexpectedScoreError(
            f"off: {', '.join(off)}",
            "the recipe expects other scores",
            "See docs/guide/training.md for what moves them",
        )


def make_shortener() -> Callable[[Path], str]:
    """Return how to show an absolute path: from the current folder, as that is now, where it lies below it."""
    try:
        start = Path.cwd()
    except OSError:  # it was deleted
        return str

    def show(path: Path) -> str:
        return str(path.relative_to(start) if path.is_relative_to(start) else path)

    return show


def _run_seeds(seeds: int | str, settings: dict[str, Any], show: Callable[[Path], str], *, as_json: bool) -> None:
    from zoo.training.seeds import run_seeds, summarise_runs

    def write_run(result: RunResult) -> None:
        if not as_json:
            weights = escape(show(result.weights))
            write_result(f"seed {result.seed}: {_show_scores(result)}, {result.seconds:.2f} s, {weights}")

    results = run_seeds(seeds, **settings, on_run=write_run)
    summary = summarise_runs(results)
    if as_json:
        write_json({"runs": [result.to_dict() for result in results], "summary": to_json_data(summary)})
        return
    for name in sorted(summary, key="loss".__eq__):  # the loss comes last, as in the line of each seed
        found = summary[name]
        spread = "of one seed" if found["sd"] is None else f"± {found['sd']:.4f} over {found['n']} seeds"
        write_result(f"{'test loss' if name == 'loss' else escape(name)} {found['mean']:.4f} {spread}")


def _show_scores(result: RunResult) -> str:
    if "course.loss" in result.metrics:
        exact = {name: value for name, value in result.metrics.items() if not name.startswith("course.")}
        averaged = f"accuracy {result.metrics['course.accuracy']:.2f} %, test loss {result.metrics['course.loss']:.5f}"
        return f"{averaged}, averaged over batches (exact: {_show_scores(replace(result, metrics=exact))})"
    scores = ", ".join(f"{escape(name)} {value:.4f}" for name, value in result.metrics.items() if name != "loss")
    return f"{scores}, test loss {result.metrics['loss']:.4f}"


def write_epoch(epoch: Epoch) -> None:
    """Print what an epoch came to."""
    split, found, seconds = watched_split(epoch), watched_scores(epoch), sum(epoch["seconds"].values())
    train = epoch["train"]
    minimised = next(iter(train))  # another loss than cross-entropy goes by its own name
    start = f"epoch {epoch['epoch']}  train {escape(minimised)}"
    if "course.loss" in found:
        losses = f"{train['course.loss']:.5f}  {split} loss {found['course.loss']:.5f}"
        write_note(f"{start} {losses}  accuracy {found['course.accuracy']:.2f} %  {seconds:.2f} s")
        return
    scores = "  ".join(f"{escape(name)} {value:.4f}" for name, value in found.items() if name != "loss")
    write_note(f"{start} {train[minimised]:.4f}  {split} loss {found['loss']:.4f}  {scores}  {seconds:.2f} s")


def _tell_average(result: RunResult) -> None:
    """Say that the scores and the weights are not those that were trained, where they are averages of them."""
    if (decay := result.train_config["ema"]) is not None:
        write_result(f"scores and weights are of the moving average of the weights, decay {decay:g}")


def _tell_choice(result: RunResult) -> None:
    """Say which epoch the weights are of, where one was chosen."""
    if result.best:
        last, chosen = len(result.history), result.best["epoch"]
        by = f"validation {result.best['monitor']} {result.best['value']:.4f}"
        write_result(f"best epoch {chosen} of {last} by {by}; the last one is in last.safetensors")
