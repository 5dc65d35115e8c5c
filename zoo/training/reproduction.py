"""Reproduction: a run repeated from its record or its weights alone, and graded."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isclose
from pathlib import Path
from typing import Any, Literal

from zoo.display import make_table, say
from zoo.errors import DeviceError, UsageError
from zoo.models.device import resolve_device
from zoo.models.references import find_weights
from zoo.records.header import read_header
from zoo.records.history import Epoch
from zoo.records.metadata import WeightsMetadata, read_metadata
from zoo.records.plain import to_json_data
from zoo.records.run_folder import RECORD_FILE, WEIGHTS_FILE
from zoo.records.runs import RunRecord, read_record
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.origin import Origin
from zoo.registry.places import Places, open_places
from zoo.registry.settings import TrainConfig, complete
from zoo.training import course
from zoo.training.begun import ask_again, check_plugins, count_processes, find_threads, list_parts, list_surroundings
from zoo.training.interval import Pace
from zoo.training.recipes import NOISE
from zoo.training.request import make_request
from zoo.training.run import carry_out

log = logging.getLogger("zoo")

Grade = Literal["BITWISE", "SAME METRICS", "DRIFT"]
BITWISE: Grade = "BITWISE"
SAME: Grade = "SAME METRICS"
DRIFT: Grade = "DRIFT"


@dataclass(frozen=True, kw_only=True, repr=False)
class Reproduction:
    """A run that was repeated.

    Fields:
        weights: The weights that were to come out.
        run: The folder of the repetition.
        grade: `BITWISE`: the tensors are the same. `SAME METRICS`: they are not, and all scores are the same to six
            digits. `DRIFT`: some are not, or nothing is known that could be compared.
        metrics: Each score on the test split, as it was and as it is.
        changed: What differs from the first run, in words: of what a result depends on.
    """

    weights: Path
    run: Path
    grade: Grade
    metrics: Mapping[str, tuple[float | None, float | None]]
    changed: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        data: dict[str, Any] = to_json_data({**asdict(self), "weights": str(self.weights), "run": str(self.run)})
        return data

    def __repr__(self) -> str:
        return say("Reproduction", self.grade, *self.changed, run=self.run)

    def _repr_html_(self) -> str:
        rows = [(name, was, now) for name, (was, now) in self.metrics.items()]
        return make_table(rows, ("score", "was", "is"), caption=f"{self.grade} {'; '.join(self.changed)}")


@checked
def reproduce(
    reference: str | os.PathLike[str],
    *,
    init: str | Path | None = None,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
    progress: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Reproduction:
    """Train again what weights come from, as the record beside them says it, or the file itself, and grade the result.

    `reference` is a run or weights, as `load` takes them; somebody else's file says of itself all that is needed, but
    where the weights are that its training started from: give these as `init`. It is a new run, with the device and the
    threads that the first one had, as far as they are here.

    Raises:
        UsageError: the file does not say what was trained.
        ZooError: see `zoo.run`.
    """
    places = open_places(registry, plugins, data_dir=data_dir, runs_dir=runs_dir, offline=offline).settle()
    path = find_weights(reference, places)
    metadata = read_metadata(path, read_header(path).metadata)
    told = _find_record(path, metadata)
    check_plugins(told, places.registry)
    result = carry_out(_ask(told, places, path, init), pace=Pace(), progress=progress, on_epoch=on_epoch)
    made = read_metadata(result.weights, read_header(result.weights).metadata)
    now = read_record(result.run / RECORD_FILE)
    same = metadata.digests.get("tensors") == made.digests.get("tensors")
    scores = {name: (told.metrics.get(name), result.metrics.get(name)) for name in told.metrics}
    changed = [*list_changes(told, now), *([] if same else _list_resumptions(told))]
    return Reproduction(
        weights=path,
        run=result.run,
        grade=BITWISE if same else SAME if scores and all(_is_close(*pair) for pair in scores.values()) else DRIFT,
        metrics=scores,
        changed=tuple(changed),
    )


def find_processes(reference: str | os.PathLike[str], places: Places) -> int:
    """Return how many processes trained weights together; the errors are those of `reproduce`."""
    path = find_weights(reference, places.settle())
    return count_processes(_find_record(path, read_metadata(path, read_header(path).metadata)))


def list_changes(told: RunRecord, now: RunRecord) -> Iterator[str]:
    """Yield in words what of a run differs from another that was to be the same."""
    for name, was, found in (*list_surroundings(told, now), *list_parts(told, now)):
        if was and was != found:  # what a file does not say is no difference
            yield f"{name} {was} -> {found}"
    if told.dataset and now.dataset and told.dataset.digest != now.dataset.digest:
        yield f"data {(told.dataset.digest or 'not known')[:12]} -> {(now.dataset.digest or 'not known')[:12]}"
    if told.history and len(told.history) != len(now.history):  # the first one was stopped, or failed
        yield f"epochs that were trained {len(told.history)} -> {len(now.history)}"
    asked, usual = complete(told.train_config), asdict(TrainConfig())
    for name, found in now.train_config.items():
        if name not in asked and to_json_data(found) != to_json_data(usual.get(name)):
            yield f"setting {name} did not exist -> {found}"
        elif name in asked and name not in ("device", "threads", "workers", "capture", "processes"):
            was, is_now = to_json_data(asked[name]), to_json_data(found)
            if was != is_now:
                yield f"setting {name} {was} -> {is_now}"


def _list_resumptions(told: RunRecord) -> Iterator[str]:
    """Yield in words where a run that was resumed went on otherwise than it had begun."""
    for entry in told.resumed:
        at = f"the first went on at step {entry.get('step')}"
        if "of" in entry:
            yield f"{at} from the state of {entry['of']}, and with settings of its own"
        changed = entry.get("changed")
        yield from (f"{at} with {text}" for text in (changed if isinstance(changed, list | tuple) else ()))


def _find_record(path: Path, metadata: WeightsMetadata) -> RunRecord:
    """Return the record of the run that weights are of, or what the file itself says as one."""
    beside = path.parent / RECORD_FILE
    if path.name == WEIGHTS_FILE and beside.is_file():
        return read_record(beside)
    if not metadata.train_config:
        raise UsageError(f"{path} does not say what was trained", "it has no settings of a training")
    names = [name for name in metadata.metrics or {} if name != "loss" and not name.startswith("course.")]
    unknown = Origin(name="", version="", source="")
    return RunRecord(
        model=metadata.model,
        plugin=metadata.plugin,
        params=metadata.params,
        dataset=metadata.dataset,
        metrics=metadata.metrics or {},
        metric_plugins={name.partition(".")[0]: unknown for name in names},
        train_config=metadata.train_config,
        seed=metadata.seed,
        device=metadata.device,
        threads=metadata.threads,
        versions=metadata.versions,
        init=metadata.init,
        frozen=metadata.frozen,
    )


def _ask(told: RunRecord, places: Places, path: Path, init: str | Path | None) -> Any:
    """Return the request for the same training, with the device and the threads that it had."""
    wanted = ask_again(told, course_style=course.LOSS in told.metrics)
    had: dict[str, Any] = {**find_threads(told), "processes": None}
    if told.device:
        try:
            resolve_device(told.device)
        except DeviceError as error:
            log.warning("%s: %s; the device is chosen anew", path, error.what)
            had["device"] = "auto"
        else:
            had["device"] = told.device
    wanted = replace(wanted, settings={**wanted.settings, **had})
    return make_request(replace(wanted, init=init) if init is not None else wanted, places)


def _is_close(was: float | None, now: float | None) -> bool:
    return was == now or (was is not None and now is not None and isclose(was, now, rel_tol=NOISE))
