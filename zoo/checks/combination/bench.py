"""Bench: how fast a model is trained on a data set, evaluated and asked, in each way in which it can be computed."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Unpack

import torch
from torch import nn

from zoo.checks.combination.measuring import WARM, FirstBatches, go_on, wait
from zoo.checks.combination.speeds import EAGER, PARTS, Bench, Speed
from zoo.data.workers import count_cores
from zoo.errors import SettingError, StorageError
from zoo.models.device import use_seed, use_threads
from zoo.models.layout import CHANNELS_LAST, CONTIGUOUS, MemoryFormat
from zoo.models.memory import forget_peak, read_peak
from zoo.models.predictor import Predictor
from zoo.models.saving import measure_samples, take_images
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.keywords import Settings
from zoo.registry.places import open_places
from zoo.storage.files import check_writable, write_file
from zoo.storage.folders import zoo_home
from zoo.training.blame import blame_plugin
from zoo.training.capture import Capture
from zoo.training.compiled import use_compiler
from zoo.training.description import describe_run
from zoo.training.optimizers import build_optimizer
from zoo.training.plan import Wanted
from zoo.training.rehearsal import HERE, describe_weights
from zoo.training.request import Request, make_request
from zoo.training.setup import Preparation, prepare
from zoo.training.sources import gather
from zoo.training.step import TrainStep, build_step
from zoo.training.trainer import evaluate

log = logging.getLogger("zoo")

MODES: Mapping[str, Mapping[str, Any]] = {
    EAGER: {"capture": False, "compile": False},
    "captured": {"capture": True, "compile": False},
    "compiled": {"capture": False, "compile": True},
}
"""The ways in which a step can run, by what a table calls them, each with the settings that ask for it."""
MANY = 1_000_000
"""Steps that a training is said to have, so that what pays off late is done at once."""
ASKED = 1024
"""Images that are predicted, or fewer where the test split has fewer."""
TRACED = 5
"""Steps in a trace."""
ELSEWHERE = "Give another path."


@checked
def bench(
    model: str | None = None,
    dataset: str | None = None,
    *,
    config: str | Path | None = None,
    recipe: str | None = None,
    metrics: str | Sequence[str] | None = None,
    params: Mapping[str, Any] | None = None,
    dataset_params: Mapping[str, Any] | None = None,
    metric_params: Mapping[str, Mapping[str, Any]] | None = None,
    seconds: float = 1.0,
    trace: str | Path | None = None,
    data_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
    **settings: Unpack[Settings],
) -> Bench:
    """Measure how fast a model is trained on a data set, evaluated and asked for predictions; nothing is kept.

    Each way is measured that the settings leave open: a step that is eager or captured, with `compile=True` a compiled
    one too, with both layouts, on one CPU thread and on all. Each of the three takes about `seconds` for each way.
    `trace` is a file to be written: the profile of a few steps of the way that a run would take, which
    https://ui.perfetto.dev shows. The other arguments are those of `run`.

    Raises:
        SettingError: `seconds` is not above 0, or several processes are to train.
        StorageError: the trace cannot be written.
        ZooError: see `run`.
    """
    if not 0 < seconds < float("inf"):
        raise SettingError("seconds", "must be above 0", seconds)
    if trace is not None:
        check_place(trace)
    places = open_places(registry, plugins, data_dir=data_dir, offline=offline).settle()
    given = Wanted(
        model=model,
        dataset=dataset,
        metrics=metrics,
        params=params,
        dataset_params=dataset_params,
        metric_params=metric_params,
        settings=settings,
    )
    wanted, places = gather(given, places, config, recipe)
    request = make_request(wanted, places)
    if (request.plan.config.processes or 1) > 1:
        raise SettingError("processes", "must be 1: what one process does is measured", request.plan.config.processes)
    plan, cores = request.plan, min(torch.get_num_threads(), count_cores())
    counts = [plan.config.threads] if plan.config.threads else sorted({1, cores}) if plan.device.type == "cpu" else [1]
    asked = {EAGER: True, "captured": plan.config.capture, "compiled": plan.config.compile}
    modes, speeds = [mode for mode in MODES if asked[mode]], list[Speed]()
    made = zoo_home() / "cache" / "compiled" if plan.config.compile else None
    blamed = blame_plugin(plan.model, plan.dataset.name)
    with use_seed(plan.config.seed), use_threads(None), use_compiler(made), blamed:
        usual = _Subject(request)
        for layout in [CONTIGUOUS, CHANNELS_LAST] if plan.config.memory_format == "auto" else [usual.layout]:
            subject = usual if layout == usual.layout else _prepare_again(request, layout)
            for threads, mode in product(counts, modes):
                torch.set_num_threads(threads)
                speeds += subject.measure(mode, threads, seconds)
        # The last way of a run's layout and threads is what a run takes: what it cannot take was not measured.
        usual_ways = [n for n, each in enumerate(speeds) if (each.memory_format, each.threads) == usual.way]
        for taken in usual_ways[-1:]:
            speeds[taken] = replace(speeds[taken], chosen=True)
        if trace is not None:
            usual.trace(Path(trace))
    return Bench(
        model=plan.model.name,
        dataset=plan.dataset.name,
        device=str(plan.device),
        batch_size=len(usual.ready.train.first()[1]),
        speeds=tuple(speeds),
    )


def check_place(path: str | Path) -> None:
    """Prove that a file can be written there, before all that takes time; raise StorageError."""
    folder = Path(path).parent
    if not folder.is_dir():
        raise StorageError(f"cannot write to {folder}", "the folder does not exist", ELSEWHERE)
    if Path(path).is_dir():
        raise StorageError(f"cannot write to {path}", "it is a folder", ELSEWHERE)
    check_writable(folder, fix=ELSEWHERE)


def _prepare_again(request: Request, layout: Any) -> _Subject:
    """Return what is measured with another layout; what there is to be said of the data was said before."""
    config, level = replace(request.plan.config, memory_format=layout), log.level
    log.setLevel(logging.CRITICAL)
    try:
        return _Subject(replace(request, plan=replace(request.plan, config=config)))
    finally:
        log.setLevel(level)


class _Subject:
    """What is measured: a model with one layout, and the batches that go with it."""

    def __init__(self, request: Request) -> None:
        self.request, self.plan = request, request.plan
        self.ready: Preparation = prepare(request)
        self.layout: MemoryFormat = self.ready.memory_format
        self.threads = self.ready.threads
        self.way = self.layout, self.threads

    def build(self, mode: str) -> tuple[nn.Module, TrainStep]:
        """Return a new copy of the model, and a step that trains it."""
        model = deepcopy(self.ready.model).train()
        config = replace(self.plan.config, **MODES[mode])
        optimizer = build_optimizer(model, config, head=self.ready.head, later=self.ready.later)
        step = build_step(model, self.ready.objective, optimizer, None, config, capture=self.plan.model.spec.capture)
        step.start(0, MANY, MANY)
        return model, step

    def measure(self, mode: str, threads: int, seconds: float) -> Iterator[Speed]:
        """Measure one way; yield nothing where a step cannot run so."""
        model, step = self.build(mode)
        batches = go_on(self.ready.train)
        recorded = self.plan.device.type == "cuda"  # a CUDA graph takes its memory once, in the first steps
        if recorded:
            forget_peak(self.plan.device)
        for _ in range(WARM):
            step(*next(batches))
        captured = isinstance(step.capture, Capture) and step.capture.form is not None
        if mode == "captured" and not captured:
            return
        whole = mode != EAGER
        if not recorded:
            forget_peak(self.plan.device)
        spent, samples, parts = 0.0, 0, dict.fromkeys(PARTS, 0.0)
        while spent < seconds:
            samples += self._time_step(step, model, batches, parts, whole=whole)
            spent = sum(parts.values())
        peak = read_peak(self.plan.device)
        step.finish()
        yield Speed(
            mode=mode,
            memory_format=self.layout,
            threads=threads,
            training=samples / spent,
            evaluation=self._evaluate(model, seconds),
            prediction=self._predict(model, seconds),
            memory=peak,
            shares={part: value / spent for part, value in parts.items()},
        )

    def _find_mode(self) -> str:
        """Return how the settings let a step run, where its model can."""
        config = self.plan.config
        return "compiled" if config.compile else "captured" if config.capture else EAGER

    def _time_step(
        self, step: TrainStep, model: nn.Module, batches: Iterator[Any], parts: dict[str, float], *, whole: bool
    ) -> int:
        """Take one step, and add to each of its parts what it took; return its samples.

        `whole` says that the forward pass is no part of its own.
        """
        marks = [time.perf_counter()]

        def mark(*_: Any) -> None:
            wait(self.plan.device)
            marks.append(time.perf_counter())

        inputs, targets = next(batches)
        mark()
        update, step.update = step.update, lambda: None  # type: ignore[method-assign]
        hook = None if whole else model.register_forward_hook(mark)
        try:
            step(inputs, targets)
        finally:
            step.update = update  # type: ignore[method-assign]
            if hook is not None:
                hook.remove()
        mark()
        if step.whole is None or step.whole.graph is None:  # a graph has made the update
            update()
        mark()
        if whole:
            marks.insert(2, marks[1])
        for part, begun, ended in zip(PARTS, marks, marks[1:], strict=False):
            parts[part] += ended - begun
        return len(targets)

    def _evaluate(self, model: nn.Module, seconds: float) -> float:
        part = FirstBatches(self.ready.test, ASKED)
        return self._time(partial(evaluate, model, part, self.ready.metrics), part.samples, seconds)

    def _predict(self, model: nn.Module, seconds: float) -> float:
        predictor = Predictor(model, self._metadata, self.plan.device)
        predictor.memory_format = self.layout
        images = list(take_images(self.ready.splits.test, ASKED))
        return self._time(partial(predictor, images), sum(map(len, images)), seconds)

    @cached_property
    def _metadata(self) -> Any:
        ready = self.ready
        facts = measure_samples(ready.preprocess, ready.splits.train, ready.splits.test)
        return describe_weights(HERE, describe_run(self.request, ready), ready, facts, None)

    def _time(self, work: Callable[[], Any], samples: int, seconds: float) -> float:
        """Return how many samples a second some work takes, which is repeated as long as there is time."""
        work()
        started, times = time.perf_counter(), 0
        while times == 0 or time.perf_counter() - started < seconds:
            work()
            wait(self.plan.device)
            times += 1
        return samples * times / (time.perf_counter() - started)

    def trace(self, path: Path) -> None:
        """Write the profile of a few steps as a run makes them."""
        torch.set_num_threads(self.threads)
        _, step = self.build(self._find_mode())
        batches = go_on(self.ready.train)
        for _ in range(WARM):
            step(*next(batches))
        kinds = [torch.profiler.ProfilerActivity.CPU]
        if self.plan.device.type == "cuda":
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
        with quiet_profiler(), torch.profiler.profile(activities=kinds, record_shapes=True) as profile:
            for number in range(1, TRACED + 1):
                with torch.profiler.record_function(f"step {number}"):
                    step(*next(batches))
            wait(self.plan.device)
        # Torch says nothing where it cannot write.
        with TemporaryDirectory() as folder:
            made = Path(folder, "trace.json")
            profile.export_chrome_trace(str(made))
            write_file(path, made.read_bytes(), what="the trace", fix=ELSEWHERE)


@contextmanager
def quiet_profiler() -> Iterator[None]:
    """Keep what torch's profiler would say on stderr: that there is no GPU, and when it starts."""
    name = "KINETO_LOG_LEVEL"
    given = os.environ.get(name)
    os.environ.setdefault(name, "99")
    try:
        yield
    finally:
        if given is None:
            del os.environ[name]
