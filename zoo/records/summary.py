"""Summary: what a listing knows of a run, and what can be asked of it by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from json import JSONDecoder
from pathlib import Path
from typing import Any, Protocol

from zoo.display import say, say_scores
from zoo.records.run_folder import FINISHED, WEIGHTS_FILE

COLUMNS = ("run", "status", "started", "model", "dataset", "epoch", "epochs", "seconds")
"""What is known of each run beside its scores and facts."""
SHORT = ("train_config", "params")
"""Parts of a record whose names need no part before them: `lr` is `train_config.lr`."""
ROW = ("name", "status", "start", "model", "dataset", "epoch", "epochs", "seconds", "metrics", "validation")
"""Fields of a summary, in the order in which an index has them."""
DECODER = JSONDecoder()


class Source(Protocol):
    """Lines of JSON that are facts of runs, each by its number."""

    def __getitem__(self, number: int, /) -> bytes: ...


Part = tuple[Sequence[Any], Source, int]
"""The values of ROW for a run, and where its facts are: the lines, and the number of its own."""


@dataclass(frozen=True, kw_only=True, repr=False)
class RunSummary:
    """What a listing knows of a run.

    Fields:
        folder: The folder of the runs.
        name: The name of the run's own folder in it.
        status: What its record says, else `killed`, `unknown` or, where the record cannot be read, `damaged`.
        start: When it began, in seconds since 1970; None where that is not known.
        model: The model as `plugin/name`.
        dataset: The data set as `plugin/name`.
        epoch: How many epochs are finished.
        epochs: How many were asked for.
        seconds: How long training and evaluating took together.
        metrics: The scores on the test split; None is one that was not finite.
        validation: The scores of the best epoch on the validation split.
    """

    folder: Path
    name: str
    status: str
    start: float | None = None
    model: str = ""
    dataset: str = ""
    epoch: int = 0
    epochs: int | None = None
    seconds: float | None = None
    metrics: Mapping[str, float | None]
    validation: Mapping[str, float | None]
    _facts: tuple[Source, int] = ([b"{}"], 0)

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.folder / self.name

    @property
    def started(self) -> str | None:
        """When the run began, as its record says it."""
        text = self._decode("started")
        return text if isinstance(text, str) else None

    @property
    def is_usable(self) -> bool:
        """Whether it is finished and has its weights."""
        return self.status == FINISHED and (self.run / WEIGHTS_FILE).is_file()

    @property
    def facts(self) -> dict[str, Any]:
        """The texts, numbers, True and False of its record by their path: `train_config.lr`, `versions.torch`."""
        source, number = self._facts
        return dict(json.loads(source[number]))

    def find(self, name: str) -> Any:
        """Return what goes by a name; None where the run has no such thing.

        The name is that of a column, a score on the test split, a setting, a param of the model, or a path in the
        record: `accuracy`, `lr`, `validation.accuracy`, `versions.torch`.
        """
        if name in COLUMNS:
            return self.name if name == "run" else getattr(self, name)
        for part, scores in (("metrics.", self.metrics), ("validation.", self.validation)):
            if (score := name.removeprefix(part)) in scores and (name != score or part == "metrics."):
                return scores[score]
        for path in (*(f"{part}.{name}" for part in SHORT), name):
            if (value := self._decode(path)) is not None:
                return value
        return None

    def list_names(self) -> list[str]:
        """Return the names that `find` knows, the shortest of each thing."""
        scores = [*self.metrics, *(f"validation.{name}" for name in self.validation)]
        facts = [path.partition(".")[2] if path.startswith(SHORT_PATHS) else path for path in self.facts]
        return list(dict.fromkeys([*COLUMNS, *scores, *facts]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        columns = {name: getattr(self, name) for name in COLUMNS}
        scores = {"metrics": dict(self.metrics), "validation": dict(self.validation)}
        return {**columns, "run": str(self.run), "name": self.name, **scores, "facts": self.facts}

    def __repr__(self) -> str:
        return say("RunSummary", self.name, self.status, say_scores(self.metrics))

    def _decode(self, path: str) -> Any:
        """Return one of the facts. Of the text that holds them all only this one is read, or thousands would take long.

        No text in it can be taken for a key: a quote inside of a text has a backslash before it.
        """
        source, number = self._facts
        text, key = source[number], f"{json.dumps(path)}: ".encode()
        at = text.find(key)
        return None if at < 0 else DECODER.raw_decode(text[at + len(key) :].decode())[0]


def summarise(folder: Path, parts: Iterable[Part]) -> list[RunSummary]:
    """Return a summary of each run of a folder."""
    made = []
    for values, source, number in parts:
        # For thousands, calling the class takes several times as long; so does a loop over ROW.
        summary = RunSummary.__new__(RunSummary)
        known = summary.__dict__
        known["name"], known["status"], known["start"], known["model"], known["dataset"], *more = values
        known["epoch"], known["epochs"], known["seconds"], known["metrics"], known["validation"] = more[:5]
        known["folder"], known["_facts"] = folder, (source, number)
        made.append(summary)
    return made


SHORT_PATHS = tuple(f"{part}." for part in SHORT)


def show_start(start: float | None) -> str:
    """Return when a run began, in the time zone of the reader, to the minute; empty where that is not known."""
    return "" if start is None else datetime.fromtimestamp(start, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
