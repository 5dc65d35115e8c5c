"""History file: `history.csv`, one row for each epoch of a run, for a spreadsheet or pandas."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from zoo.records.history import Epoch
from zoo.storage.reading import explain

log = logging.getLogger("zoo")

HISTORY_FILE = "history.csv"


def make_row(epoch: Epoch) -> dict[str, float]:
    """Return the values of an epoch by column: `epoch`, `train_loss`, `test_loss`, `test_accuracy` ..., `seconds`.

    The columns of a validation split begin with `validation_`; `seconds` are those of training and evaluating together.
    """
    row: dict[str, float] = {"epoch": epoch["epoch"]}
    row |= {f"train_{name}": value for name, value in epoch["train"].items()}
    row |= {f"validation_{name}": value for name, value in epoch.get("validation", {}).items()}
    row |= {f"test_{name}": value for name, value in epoch.get("test", {}).items()}
    rate = epoch.get("lr")
    return row | ({"lr": rate} if isinstance(rate, float) else {}) | {"seconds": sum(epoch["seconds"].values())}


class HistoryFile:
    """The file of a run's folder. It has whole rows only, also where the process or the disk gives up in between."""

    def __init__(self) -> None:
        self.rows, self.size, self.warned = 0, 0, False

    def write(self, folder: Path, history: Sequence[Epoch]) -> None:
        """Add the epochs that the file lacks; where that fails, warn once, and try again with the next epoch.

        Each call adds its rows with a single write at the known end of the file, which takes microseconds and waits for
        no disk. A file that somebody else has changed or taken away is written anew.
        """
        path = folder / HISTORY_FILE
        try:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
            file = os.open(path, flags, 0o666)
            try:
                if os.fstat(file).st_size != self.size:
                    os.ftruncate(file, 0)
                    self.rows, self.size = 0, 0
                self._add(file, history[self.rows :])
            finally:
                os.close(file)
        except OSError as error:
            if not self.warned:
                log.warning("cannot write %s: %s", path, explain(error))
            self.warned = True

    def _add(self, file: int, epochs: Sequence[Epoch]) -> None:
        rows = list(map(make_row, epochs))
        if not rows:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), restval="", extrasaction="ignore", lineterminator="\n")
        if not self.rows:
            writer.writeheader()
        writer.writerows(rows)
        data = text.getvalue().encode()
        os.lseek(file, self.size, os.SEEK_SET)
        try:
            written = os.write(file, data)
        except OSError:
            written = 0
            raise
        finally:
            if written < len(data):
                os.ftruncate(file, self.size)
        if written < len(data):
            raise OSError(f"{written} of {len(data)} bytes were written")
        self.rows, self.size = self.rows + len(rows), self.size + len(data)
