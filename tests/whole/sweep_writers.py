"""Sweep: whatever zoo writes is written while one system call after another fails, or is the last one of the process.

    python tests/whole/sweep_writers.py            # some calls of each writer meet a fault each
    python tests/whole/sweep_writers.py --all      # each call meets every fault

A writer works in a process forked from this one, traced by `tests/system_calls.py`: every open, write, fsync, rename,
mkdir, unlink and the like below its folder is counted and meets a kill, EIO, or a disk that is full from there on.
After each, what was there before or what was to be written must be there, whole; what the writer said is saved must be
there; nothing is left lying about by a writer that lived; and the same write must succeed afterwards.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import click  # noqa: F401 imported before the forks, as all that writers need
import numpy
import torch
from hostile import DATA, Server, serve
from safetensors.torch import load_file
from system_calls import Fault, run_traced
from torch import nn

import zoo
from zoo.data import cache
from zoo.errors import UsageError, ZooError
from zoo.models.embedding import EmbeddingOrigin, Embeddings
from zoo.records import run_index
from zoo.records.header import read_header
from zoo.records.history_file import HistoryFile
from zoo.records.run_index import list_runs
from zoo.records.runs import DatasetOrigin, FileOrigin, RunRecord, read_record, save_record
from zoo.registry.certificates import Certificate, read_certificate, save_certificate
from zoo.registry.index import _keep
from zoo.registry.preprocess import Preprocess
from zoo.registry.specs import DatasetSpec, FileSpec, ModelSpec
from zoo.storage.files import PART_PATTERN
from zoo.training.checkpoint import Checkpoint, find_checkpoint, save_checkpoint
from zoo.training.predictions import OutcomeOrigin, Outcomes, read_outcomes, save_outcomes
from zoo_plugins.torchvision.archives import lay_out

FAULTS = ("KILL", "EIO", "FULL")
SOME = 6


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Something that zoo writes.

    Fields:
        begin: Makes in a folder what is there before.
        act: Writes there.
        read: Returns what is there, in a form that can be compared; it raises where that is not whole.
        may_be: What else may be there after a fault.
        forgives: Whether a write that fails costs time only, and raises nothing.
        keeps_parts: Whether parts are kept on purpose, to go on with.
    """

    begin: Callable[[Path], object]
    act: Callable[[Path], object]
    read: Callable[[Path], Any]
    may_be: Callable[[Any], bool] = lambda _: False
    forgives: bool = False
    keeps_parts: bool = False


def nothing(_: Path) -> None:
    """Begin with an empty folder."""


class Net(nn.Sequential):
    """A model of a few numbers."""

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), num_classes))


REGISTRY = zoo.Registry()
REGISTRY.add(ModelSpec(name="net", factory=Net), plugin="own")
FILES = [
    FileSpec(path=f"own/{name}", size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest(), urls=())
    for name in ("a.bin", "b.bin")
]


def describe(seed: int, **parts: Any) -> RunRecord:
    known = {"status": "finished", "started": "2026-11-24T12:00:00+00:00", "model": "net", "seconds": 1.0}
    known |= {"dataset": DatasetOrigin(name="shapes"), "metrics": {"accuracy": 0.5}, "device": "cpu"}
    known |= {"parameters": 10, "device_name": "cpu"}
    return RunRecord(**{**known, "seed": seed, **parts})


def save_weights(folder: Path, value: float) -> None:
    net = Net(input_shape=(1, 4, 4), num_classes=2)
    nn.init.constant_(net[1].weight, value)
    zoo.save(
        net, folder / "w.safetensors", model="net", input_shape=(1, 4, 4), class_names=("a", "b"), registry=REGISTRY
    )


def read_weights(folder: Path) -> float:
    read_header(folder / "w.safetensors")
    return float(load_file(folder / "w.safetensors")["1.weight"][0, 0])


EPOCHS = [{"epoch": n, "train": {"loss": 1 / n}, "test": {"loss": 0.5}, "seconds": {"train": 1.0}} for n in (1, 2, 3)]
HISTORY = HistoryFile()


def read_history(folder: Path) -> int:
    text = (folder / "history.csv").read_text(encoding="utf-8")
    assert not text or text.endswith("\n"), "half a row"
    return max(0, text.count("\n") - 1)


def write_checkpoint(run: Path, step: int) -> None:
    state = {"model": {"weight": torch.full((50,), float(step))}, "history": []}
    save_checkpoint(run, Checkpoint(step=step, state=state, record=describe(step), course_style=False, seconds=1.0))


def read_checkpoints(run: Path) -> int:
    found = find_checkpoint(run)
    assert float(found.state["model"]["weight"][0]) == found.step == found.record.seed
    return found.step


def write_outcomes(folder: Path, value: int) -> None:
    origin = OutcomeOrigin(model="net", dataset="shapes", split="test")
    numbers = {name: [value] * 5 for name in ("targets", "predictions")}
    odds = {name: [0.5] * 5 for name in ("target_probabilities", "probabilities")}
    outcomes = Outcomes(**numbers, **odds, class_names=("a", "b"), origin=origin)
    save_outcomes(folder / "predictions.safetensors", outcomes)


def write_embeddings(folder: Path, value: float) -> None:
    origin = EmbeddingOrigin(**dict.fromkeys(EmbeddingOrigin.__dataclass_fields__, "x"))
    Embeddings(features=numpy.full((3, 4), value, numpy.float32), paths=(), origin=origin).save(
        folder / "e.safetensors"
    )


def write_certificate(folder: Path, version: str) -> None:
    told = {"plugin": "own", "version": version, "source": "own.py", "zoo": "1", "versions": {}, "date": "today"}
    save_certificate(Certificate(**told, verdict="certified", whole=True, findings={}))


def keep_index(folder: Path, value: int) -> None:
    _keep(folder / "home" / "cache" / "index-own.json", json.dumps({"value": value}))


def read_kept(folder: Path) -> int | None:
    path = folder / "home" / "cache" / "index-own.json"
    return json.loads(path.read_text())["value"] if path.exists() else None


RUNS = 40


def begin_runs(folder: Path) -> None:
    for number in range(RUNS):
        place = folder / "runs" / f"run-{number:02}"
        place.mkdir(parents=True)
        save_record(place, describe(number))
        os.utime(place / "run.json", (1.7e9, 1.7e9))


def read_runs(folder: Path) -> list[int]:
    return sorted(run.find("seed") for run in list_runs(folder / "runs"))


def begin_few_runs(folder: Path) -> None:
    """Make two runs, of which the second began with the weights of the first and was forked from it."""
    one = folder / "runs" / "one"
    began = {"init": FileOrigin(path=str(one / "weights.safetensors"), digest="0"), "resumed": ({"of": str(one)},)}
    for name, parts in (("one", {}), ("two", began)):
        place = folder / "runs" / name
        place.mkdir(parents=True)
        save_record(place, describe(1, **parts))
        (place / "weights.safetensors").write_bytes(b"x" * 100)


def remove_run(folder: Path) -> None:
    with suppress(UsageError):  # it is gone already
        zoo.runs_remove("one", yes=True, runs_dir=folder / "runs")
    zoo.runs_clean(yes=True, runs_dir=folder / "runs")


def rename_run(folder: Path) -> None:
    if (folder / "runs" / "one").exists():
        zoo.runs_rename("one", "three", runs_dir=folder / "runs")


def name_runs(folder: Path) -> list[tuple[str, int]]:
    """Return the runs with how many files they have: a run has all of them or is none."""
    found = [run.run for run in zoo.runs(runs_dir=folder / "runs")]
    assert len(found) == sum(not path.name.startswith(".") for path in (folder / "runs").iterdir()), "one is empty"
    return sorted((run.name, len(list(run.glob("[!.]*")))) for run in found)


def name_origins(folder: Path) -> tuple[list[tuple[str, int]], set[str]]:
    """Return the runs, and the names by which the second one knows the first."""
    record = read_record(folder / "runs" / "two" / "run.json")
    return name_runs(folder), {Path(record.init.path).parent.name, *(Path(part["of"]).name for part in record.resumed)}


PREPROCESS = Preprocess(resize=(4, 4), rounded=True)
FORM = cache.Form.of(PREPROCESS, (1, 4, 4))
ROWS = [torch.full((1, 4, 4), number, dtype=torch.uint8) for number in range(3)]


def keep_pictures(folder: Path) -> None:
    try:
        write_rows(folder)
    except OSError as error:  # who reads pictures goes on without keeping them
        raise ZooError("cannot keep pictures", str(error)) from error


def write_rows(folder: Path) -> None:
    with cache.writing(folder / "pictures", FORM.shape, PREPROCESS, len(ROWS)) as writer:
        with FileIO(writer.rows.path, "r+") as file:
            for place, row in enumerate(ROWS):
                cache.write_at(file, place * writer.rows.size, row)
        writer.save(FORM, {place: (str(place), cache.checksum(row)) for place, row in enumerate(ROWS)})


def read_pictures(folder: Path) -> int | None:
    name = cache.name_sheet(FORM, [str(place) for place in range(len(ROWS))])
    sheet = cache.open_sheet(folder / "pictures", name, FORM.shape, proved=False)
    assert sheet is None or torch.equal(sheet.images, torch.stack(ROWS))
    return None if sheet is None else len(sheet.images)


def read_data(folder: Path) -> list[str]:
    found = sorted(path for path in (folder / "data" / "own").glob("[!.]*"))
    assert all(path.read_bytes() == DATA for path in found), "a file is not whole"
    return [path.name for path in found]


def make_fetch(server: Server) -> Callable[[Path], None]:
    spec = replace(FILES[0], urls=(server.url("ok"),))
    registry = zoo.Registry()
    registry.add(DatasetSpec(name="own", factory="own:own", files=[spec]), plugin="own")
    return lambda folder: zoo.data_fetch(["own"], data_dir=folder / "data", registry=registry)


OWN = zoo.Registry()
OWN.add(DatasetSpec(name="own", factory="own:own", files=FILES[:1]), plugin="own")
BOTH = zoo.Registry()
BOTH.add(DatasetSpec(name="own", factory="own:own", files=FILES), plugin="own")


def begin_adding(folder: Path) -> None:
    (folder / "got").mkdir()
    (folder / "got" / "mine").write_bytes(DATA)


def add(folder: Path, *, move: bool) -> None:
    if not move or (folder / "got" / "mine").exists():
        zoo.data_add("own", folder / "got" / "mine", move=move, data_dir=folder / "data", registry=OWN)


def read_added(folder: Path) -> tuple[bool, list[str]]:
    source = folder / "got" / "mine"
    assert not source.exists() or source.read_bytes() == DATA
    found = read_data(folder)
    assert found or source.exists(), "the file is gone"
    return source.exists(), found


def begin_removing(folder: Path) -> None:
    (folder / "data" / "own").mkdir(parents=True)
    for file in FILES:
        (folder / "data" / file.path).write_bytes(DATA)


def begin_unpacking(folder: Path) -> None:
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        for name in ("a/one", "a/two", "three"):
            archive.writestr(name, name * 100)


def read_unpacked(folder: Path) -> list[str] | None:
    made = next(folder.glob("unpacked-*"), None)
    if made is None:
        return None
    found = sorted(path for path in made.rglob("*") if path.is_file())
    names = [str(path.relative_to(made / "in")) for path in found]
    assert names == ["a/one", "a/two", "three"] and all(
        path.read_text() == name * 100 for path, name in zip(found, names, strict=True)
    )
    return names


def write_plugin(folder: Path, target: str, **options: Any) -> None:
    if not (folder / target).exists():
        zoo.plugin_new("own", "model", output=folder / target, **options)


def read_tree(folder: Path) -> list[str] | None:
    """Return the files of a package, each with its first letter: an empty one was not written."""
    made = folder / "zoo-own"
    found = sorted(path for path in made.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [f"{path.relative_to(made)}:{path.stat().st_size}" for path in found] if made.exists() else None


def make_writers(server: Server) -> dict[str, Writer]:
    """Return all that zoo writes, by names."""
    return {
        "weights": Writer(begin=lambda f: save_weights(f, 1.0), act=lambda f: save_weights(f, 2.0), read=read_weights),
        "record": Writer(
            begin=lambda f: save_record(f, describe(1)),
            act=lambda f: save_record(f, describe(2)),
            read=lambda f: read_record(f / "run.json").seed,
        ),
        "history": Writer(
            begin=lambda f: HISTORY.write(f, EPOCHS[:2]),
            act=lambda f: HISTORY.write(f, EPOCHS),
            read=read_history,
            may_be=lambda rows: rows == 0,  # begun anew, it is emptied first; the record has the rows as well
            forgives=True,
        ),
        "checkpoint": Writer(
            begin=lambda f: [write_checkpoint(f, step) for step in (10, 20)],
            act=lambda f: write_checkpoint(f, 30),
            read=read_checkpoints,
        ),
        "predictions": Writer(
            begin=lambda f: write_outcomes(f, 0),
            act=lambda f: write_outcomes(f, 1),
            read=lambda f: read_outcomes(f / "predictions.safetensors").arrays["targets"].tolist(),
        ),
        "embeddings": Writer(
            begin=lambda f: write_embeddings(f, 1.0),
            act=lambda f: write_embeddings(f, 2.0),
            read=lambda f: load_file(f / "e.safetensors")["features"].tolist(),
        ),
        "certificate": Writer(
            begin=nothing,
            act=lambda f: write_certificate(f, "2"),
            read=lambda f: (found := read_certificate("own", "own.py")) and found.version,
        ),
        "index of a plugin": Writer(
            begin=lambda f: keep_index(f, 1), act=lambda f: keep_index(f, 2), read=read_kept, forgives=True
        ),
        "index of the runs": Writer(begin=begin_runs, act=read_runs, read=read_runs, forgives=True),
        "decoded pictures": Writer(begin=nothing, act=keep_pictures, read=read_pictures),
        "download": Writer(begin=nothing, act=make_fetch(server), read=read_data, keeps_parts=True),
        "copied data": Writer(begin=begin_adding, act=lambda f: add(f, move=False), read=read_added),
        "moved data": Writer(begin=begin_adding, act=lambda f: add(f, move=True), read=read_added),
        "removed data": Writer(
            begin=begin_removing,
            act=lambda f: zoo.data_remove("own", yes=True, data_dir=f / "data", registry=BOTH),
            read=read_data,
            may_be=lambda names: len(names) == 1,
        ),
        "unpacked data": Writer(begin=begin_unpacking, act=lambda f: lay_out(f, {"x.zip": "in"}), read=read_unpacked),
        "removed run": Writer(begin=begin_few_runs, act=remove_run, read=name_runs),
        "renamed run": Writer(
            begin=begin_few_runs,
            act=rename_run,
            read=name_origins,
            # The record is written before the folder has its new name: the same rename makes the rest.
            may_be=lambda found: found == ([("one", 2), ("two", 2)], {"three"}),
        ),
        "plugin of a file": Writer(
            begin=nothing,
            act=lambda f: write_plugin(f, "own.py", single_file=True),
            read=lambda f: (f / "own.py").exists() and (f / "own.py").stat().st_size,
        ),
        "plugin of a package": Writer(begin=nothing, act=lambda f: write_plugin(f, "zoo-own"), read=read_tree),
    }


class Sweep:
    """One writer after another, in one folder that is made anew for each fault."""

    def __init__(self, scratch: Path) -> None:
        self.before, self.place, self.log = scratch / "before", scratch / "place", scratch / "log"
        self.cases, self.broken = 0, list[str]()
        for name in ("HOME", "RUNS_DIR", "DATA_DIR"):
            os.environ[f"ZOO_{name}"] = str(self.place / name.partition("_")[0].lower())

    def renew(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        if self.before.exists():
            shutil.copytree(self.before, self.place)
        else:
            self.place.mkdir()

    def attempt(self, writer: Writer, fault: Fault) -> tuple[int, list[str], str]:
        """Let a process write; return how it ended, its calls and the one that met the fault."""

        def act() -> int:
            os.chdir(self.place)
            with self.log.open("w") as log:
                os.dup2(log.fileno(), 2)
            try:
                writer.act(self.place)
            except ZooError as error:
                print(error, file=sys.stderr, flush=True)
                return 7
            except BaseException:  # noqa: BLE001 whatever it was, the sweep is told
                traceback.print_exc()
                sys.stderr.flush()
                return 99
            return 0

        ending = run_traced(act, str(self.place), fault)
        return ending.code, ending.calls, ending.struck

    def sweep(self, name: str, writer: Writer, *, turn: int | None = None) -> None:
        """Let each call meet all faults, or with `turn` about SOME calls one of them, in turns."""
        shutil.rmtree(self.before, ignore_errors=True)
        self.renew()
        writer.begin(self.place)
        shutil.copytree(self.place, self.before)
        old = writer.read(self.place)
        self.renew()
        code, calls, _ = self.attempt(writer, Fault())
        if code:
            raise AssertionError(f"{name}: fails without a fault: {self.log.read_text()}")
        new = writer.read(self.place)
        assert calls, f"{name}: it writes nothing"
        numbers = range(1, len(calls) + 1)
        if turn is not None:
            numbers = range(1 + turn % max(1, len(calls) // SOME), len(calls) + 1, max(1, len(calls) // SOME))
        for count, number in enumerate(numbers):
            chosen = FAULTS if turn is None else [FAULTS[(count + turn) % len(FAULTS)]]
            for what in chosen:
                self.renew()
                ended, _, struck = self.attempt(writer, Fault(number, what))
                problem = self.judge(writer, old, new, ended, struck)
                if problem:
                    told = self.log.read_text().strip().splitlines()[-1:] if self.log.exists() else []
                    self.broken.append(f"{name}: {what} at call {number}, {struck}: {problem} {' '.join(told)}")
                self.cases += 1

    def judge(self, writer: Writer, old: Any, new: Any, ended: int, struck: str) -> str:
        """Return what is wrong after a fault, nothing where all is well."""
        if ended == 99:
            return "an error that is none of zoo's"
        try:
            found = writer.read(self.place)
        except Exception as error:  # noqa: BLE001 whatever keeps it from being read is what is looked for
            return f"what is there cannot be read: {type(error).__name__}: {error}"
        if found not in (old, new) and not writer.may_be(found):
            return f"expected {old} or {new}, got {found}"
        if ended == 0 and found != new and not writer.forgives:
            return f"it said that all is well, and {found} is there"
        if ended == 7 and writer.forgives:
            return "it should only have cost time"
        # What cannot be removed stays, and a removal says where the rest is.
        left = [] if writer.keeps_parts or struck in ("unlink", "rmdir") else self.find_parts()
        if ended >= 0 and (left := [part for part in left if part not in self.log.read_text()]):
            return f"{left[0]} was left"
        for part in self.find_parts():
            os.utime(self.place / part, (1.7e9, 1.7e9))
        again, calls, _ = self.attempt(writer, Fault())
        if again or writer.read(self.place) != new:
            return f"the next one does not make it good: {again}, {writer.read(self.place)}"
        # Parts are swept by who writes in their folder again.
        if "rename" in calls and not writer.keeps_parts and (left := self.find_parts()):
            return f"the next one leaves {left[0]}"
        return ""

    def find_parts(self) -> list[str]:
        return [
            str(path.relative_to(self.place)) for path in self.place.rglob(".*") if PART_PATTERN.fullmatch(path.name)
        ]


def main(scratch: Path, *, everything: bool, only: str = "") -> dict[str, Any]:
    """Sweep all writers; return how many faults there were and what went wrong."""
    torch.set_num_threads(1)
    for name in dir(zoo):
        getattr(zoo, name)  # imported once, before the forks
    run_index.time.time = lambda now=run_index.time.time: now() + 60  # records of just now are never kept in the index
    sweep, told = Sweep(scratch), {}
    # A writer that writes in place: a sweep that finds nothing wrong with it would find nothing.
    naive = Writer(
        begin=lambda f: (f / "w").write_bytes(b"old" * 99),
        act=lambda f: (f / "w").write_bytes(b"new" * 99),
        read=lambda f: (f / "w").read_bytes()[:3],
    )
    control = Sweep(scratch)
    control.sweep("naive", naive)
    with serve() as server:
        for number, (name, writer) in enumerate(make_writers(server).items()):
            if only not in name:
                continue
            before = sweep.cases
            sweep.sweep(name, writer, turn=None if everything else number)
            told[name] = sweep.cases - before
    return {"cases": told, "broken": sweep.broken, "control": control.broken}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zoo-sweep-") as folder:
        print(json.dumps(main(Path(folder).resolve(), everything=given.all, only=given.only), indent=1))
