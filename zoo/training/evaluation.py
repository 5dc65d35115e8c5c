"""Evaluation: saved weights on a data set, with exact loss and metrics."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from zoo.data.fitted import fit_splits
from zoo.data.splits import DataSplits, count_samples, find_input_shape, hash_splits
from zoo.data.survey import survey
from zoo.data.workers import name_dead_worker
from zoo.display import make_table, say, say_scores
from zoo.errors import DivergedError, IncompatibleError, UsageError, quote
from zoo.models.blame import blame_model
from zoo.models.device import use_seed, use_threads
from zoo.models.predictor import Predictor, load_path
from zoo.models.references import find_weights
from zoo.records.plain import to_json_table
from zoo.registry.arguments import checked
from zoo.registry.compatibility import show_shape
from zoo.registry.entries import Registry
from zoo.registry.global_state import restore_after_errors
from zoo.registry.paths import read_path
from zoo.registry.places import open_places
from zoo.registry.preprocess import Preprocess
from zoo.training.blame import blame_plugin, watching
from zoo.training.confusion import ClassScore, score_predictions
from zoo.training.distributed import settle, together
from zoo.training.inputs import make_test_batches
from zoo.training.plan import Wanted, make_plan
from zoo.training.predictions import OutcomeCollector, OutcomeOrigin, Outcomes
from zoo.training.progress import bar, no_progress
from zoo.training.setup import build_metrics, load_splits, settle_speed
from zoo.training.trainer import evaluate as evaluate_model
from zoo.training.verdict import find_verdict, tell_verdict


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """How weights do on the test split of a data set: `metrics` holds the mean cross-entropy as `loss` too.

    `outcomes` are the predictions for each sample. `verdict` says what is wrong with the model, in sentences.
    """

    weights: Path
    model: str
    dataset: str
    metrics: dict[str, float]
    samples: int
    device: str
    seconds: float
    outcomes: Outcomes = field(compare=False)
    verdict: tuple[str, ...] = ()

    @property
    def per_class(self) -> list[ClassScore]:
        """Precision, recall, F1 and support of each class."""
        return score_predictions(self.outcomes.targets, self.outcomes.predictions, self.outcomes.class_names)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data, without the outcomes."""
        data = {key: value for key, value in vars(self).items() if key != "outcomes"}
        per_class = [asdict(score) for score in self.per_class]
        return to_json_table({**data, "weights": str(self.weights), "per_class": per_class})

    def __repr__(self) -> str:
        told = f"{self.samples:,} samples", say_scores(self.metrics)
        return say("Evaluation", f"{self.model} on {self.dataset}", *told)

    def _repr_html_(self) -> str:
        heading = ("class", "precision", "recall", "f1", "support")
        rows = [
            (score.name, *map(_show_share, (score.precision, score.recall, score.f1)), score.support)
            for score in self.per_class
        ]
        caption = f"{self.model} on {self.dataset}, {self.samples:,} samples: {say_scores(self.metrics)}"
        return make_table(rows, heading, caption=caption)


def _show_share(share: float | None) -> str:
    return "-" if share is None else f"{share:.4f}"


@checked
def evaluate(
    reference: str | os.PathLike[str],
    dataset: str | None = None,
    *,
    metrics: str | Sequence[str] | None = None,
    dataset_params: Mapping[str, Any] | None = None,
    metric_params: Mapping[str, Mapping[str, Any]] | None = None,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
    course_style: bool = False,
    progress: bool = False,
    **settings: Any,
) -> Evaluation:
    """Evaluate weights on the test split of a data set, by default the one they were trained on.

    Images are preprocessed as the weights say. `settings` are `device`, `threads`, `memory_format`, `workers` and
    `processes`. The mean loss is per sample, counts are exact, and neither depends on the batch size. With
    `course_style` there are `course.loss` and `course.accuracy` too: the means over batches that the course prints, the
    accuracy in percent.

    With `processes` all that torchrun has started, so many, call this alike: each computes its part, and the result is
    that of one process. Without it a process evaluates by itself, whatever started it.

    Raises:
        WeightsError, PluginError: see `load`.
        UsageError: the data set has other classes than the weights, or images that do not fit them.
        DataError, DownloadError: the data cannot be had or used.
    """
    places = open_places(registry, plugins, data_dir=data_dir, runs_dir=runs_dir, offline=offline)
    path = find_weights(reference, places)
    predictor = load_path(path, places.registry)
    trained = predictor.weights.dataset
    if dataset is None:
        if trained is None:
            raise UsageError(f"{path} names no data set", fix="Give one with dataset=...")
        dataset = trained.qualified_name
    dataset, dataset_params = read_path(dataset, dataset_params, places.registry)
    entry = places.registry.get("dataset", dataset)
    own_params = trained.params if trained and trained.qualified_name == entry.qualified_name else None
    wanted = Wanted(
        model=predictor.weights.qualified_model,
        dataset=entry.qualified_name,
        metrics=metrics,
        params=predictor.params,
        dataset_params=dataset_params or own_params,
        metric_params=metric_params,
        settings=settings,
        course_style=course_style,
        trains=False,
    )
    plan = make_plan(wanted, places.registry)
    if plan.config.processes is not None:
        plan = settle(plan, trains=False)
    name, config = plan.dataset.name, plan.config
    with (
        restore_after_errors(),
        use_seed(config.seed),
        use_threads(config.threads),
        together(plan) as group,
        blame_plugin(plan.model, name),
    ):
        splits = load_splits(plan, places.data_dir, offline=places.offline)
        shape = find_input_shape(plan.dataset.name, splits)
        preprocess = _choose_preprocess(predictor, splits, shape)
        splits = survey(plan.dataset.name, splits, preprocess, shape)
        fitted, shape = fit_splits(splits, preprocess, shape)
        _check_fit(predictor, plan.dataset.name, tuple(splits.class_names), preprocess.output_shape(shape))
        predictor.model.to(plan.device)
        built = build_metrics(plan, len(splits.class_names))
        with blame_model(predictor.weights):
            plan, _ = settle_speed(plan, predictor.model, predictor.input_shape, trains=False)
        batches = make_test_batches(plan, fitted, fitted.test, preprocess, shape)
        collector = OutcomeCollector()
        show = watching(bar if progress and plan.ranks.is_first else no_progress, plan)
        started = time.perf_counter()
        try:
            with blame_model(predictor.weights), name_dead_worker(plan.dataset.name):
                scores = evaluate_model(predictor.model, batches, built, show=show, outcomes=collector, group=group)
        except DivergedError as error:
            raise DivergedError(error.what, error.why, f"See: zoo verify {shlex.quote(str(path))}") from error
        seconds = time.perf_counter() - started
    origin = OutcomeOrigin(
        model=predictor.weights.model,
        dataset=plan.dataset.name,
        split="test",
        digest=hash_splits(splits),
        weights=predictor.weights.digests.get("tensors"),
    )
    outcomes = collector.collect(splits.class_names, origin)
    verdict = find_verdict(outcomes, scores["loss"])
    if plan.ranks.is_first:
        tell_verdict(predictor.weights.model, verdict)
    return Evaluation(
        weights=path,
        model=predictor.weights.model,
        dataset=plan.dataset.name,
        metrics=scores,
        samples=count_samples(splits.test),
        device=str(plan.device),
        seconds=seconds,
        outcomes=outcomes,
        verdict=verdict,
    )


def _choose_preprocess(predictor: Predictor, splits: DataSplits, shape: tuple[int, ...]) -> Preprocess:
    """Return how inputs are made of a data set: as the weights say, of pictures of any size as those are predicted."""
    own, wanted = predictor.preprocess, predictor.input_shape
    if splits.preprocess is None or not splits.preprocess.rounded or len(shape) != 3 or len(wanted) != 3:
        return own
    if own.resize is None:
        own = replace(own, resize=(wanted[1], wanted[2]), crop=None)
    if own.channels is None and {shape[0], wanted[0]} == {1, 3}:
        own = replace(own, channels=wanted[0])
    return replace(own, rounded=True)


def _check_fit(predictor: Predictor, dataset: str, theirs: tuple[str, ...], made: tuple[int, ...]) -> None:
    """Refuse a data set that these weights cannot be measured on; `made` is the shape of the inputs made of it."""
    model, ours = predictor.weights.model, predictor.class_names
    if theirs != ours:
        if len(ours) != len(theirs):
            why = f"the weights are for {len(ours)} classes, the data set has {len(theirs)}"
        else:
            first = next(index for index, name in enumerate(ours) if name != theirs[index])
            why = f"class {first} is {ours[first]!r} in the weights, {theirs[first]!r} in the data set"
        raise UsageError(f"weights of {quote(model)} do not fit dataset {quote(dataset)}", why)
    if made != predictor.input_shape:
        raise IncompatibleError(model, dataset, f"inputs of {show_shape(predictor.input_shape)}", show_shape(made))
