"""history.csv: whole rows, one for each epoch, whatever happens between two of them."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import pytest

import zoo
from zoo.records.history_file import HistoryFile

SMALL = {"train_size": 320, "test_size": 100}


def read_rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "history.csv").open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def epoch(number: int, loss: float = 0.5) -> zoo.Epoch:
    return {"epoch": number, "train": {"loss": loss}, "test": {"loss": 0.25}, "seconds": {"train": 1.5, "test": 0.5}}


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_run_writes_what_its_history_says(tmp_path, split):
    share = {"validation": 0.25} if split == "validation" else {}
    result = zoo.run(epochs=3, dataset_params=SMALL, metrics=["accuracy", "f1-macro"], runs_dir=tmp_path, **share)
    rows = read_rows(result.run)
    assert len(rows) == 3
    for row, told in zip(rows, result.history, strict=True):
        assert row["epoch"] == told["epoch"] and row["train_loss"] == told["train"]["loss"]
        scores = {name: row[f"{split}_{name}"] for name in ("loss", "accuracy", "f1-macro")}
        assert scores == told[split]
        assert row["seconds"] == pytest.approx(sum(told["seconds"].values()))


@pytest.mark.promise("P1")
def test_a_row_is_there_when_its_epoch_ends_and_stays_when_the_run_is_stopped(tmp_path):
    def stop(told):
        (run,) = tmp_path.iterdir()
        assert [row["epoch"] for row in read_rows(run)] == list(range(1, told["epoch"] + 1))
        if told["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        zoo.run(epochs=5, dataset_params=SMALL, runs_dir=tmp_path, on_epoch=stop)
    (run,) = tmp_path.iterdir()
    assert len(read_rows(run)) == len(json.loads((run / "run.json").read_text())["history"]) == 2


def test_the_lr_of_an_epoch_has_a_column_where_it_is_known(tmp_path):
    HistoryFile().write(tmp_path, [{**epoch(1), "lr": 0.1}])
    assert read_rows(tmp_path)[0]["lr"] == 0.1


@pytest.mark.promise("P1")
def test_a_full_disk_leaves_whole_rows_and_the_next_epoch_catches_up(tmp_path, monkeypatch, caplog):
    file, real = HistoryFile(), os.write
    file.write(tmp_path, [epoch(1)])
    whole = (tmp_path / "history.csv").read_bytes()
    monkeypatch.setattr(os, "write", lambda number, data: real(number, data[:5]))  # what a full disk still takes
    for count in (2, 3):
        file.write(tmp_path, [epoch(number) for number in range(1, count + 1)])
        assert (tmp_path / "history.csv").read_bytes() == whole
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "history.csv" in caplog.text
    monkeypatch.undo()
    file.write(tmp_path, [epoch(number) for number in range(1, 5)])
    assert [row["epoch"] for row in read_rows(tmp_path)] == [1, 2, 3, 4]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("half a ro")])
def test_a_file_that_somebody_changed_is_written_anew(tmp_path, spoil):
    file = HistoryFile()
    file.write(tmp_path, [epoch(1)])
    spoil(tmp_path / "history.csv")
    file.write(tmp_path, [epoch(1), epoch(2, float("inf"))])
    assert [row["train_loss"] for row in read_rows(tmp_path)] == [0.5, float("inf")]


def test_a_folder_that_is_gone_costs_a_line(tmp_path, caplog):
    file = HistoryFile()
    file.write(tmp_path / "gone", [epoch(1)])
    file.write(tmp_path / "gone", [epoch(1), epoch(2)])
    assert len(caplog.records) == 1 and not (tmp_path / "gone").exists()
