"""Pool: several processes that do the trials of one study, each with its share of the machine's threads.

They divide the work among themselves by claiming trials; this process only starts them, hears which trials are done,
and ends them. A worker whose input ends has lost the process that started it, and stops as after a signal.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any, cast

import torch

from zoo.data.workers import count_cores
from zoo.errors import ZooError
from zoo.storage.processes import take_over

Tell = Callable[[str, str], None]
"""Called with `begun` or `done`, and the name of a trial."""
Answer = Callable[[dict[str, Any], Tell], None]
"""What a worker does: it gets the question, and what it tells of its trials with."""


def work_together(
    jobs: int,
    answer: Answer,
    question: Mapping[str, Any],
    tell: Callable[[str], None],
    lose: Callable[[str, str], None],
    *,
    device: str,
) -> None:
    """Let so many processes answer a question, which must be plain data; return when all have come to an end.

    `tell` is called here with the name of each trial that is done. A worker that dies is replaced, and `lose` called
    with the name of its trial and with how it ended. All train on the `device`; each has a GPU of its own where that is
    `cuda`, and there are several.

    Raises:
        OSError: no process could be started.
        ZooError: they die before they begin anything, or the error of one that ends all of them.
    """
    surroundings = [share(job, jobs, device) for job in range(jobs)]
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    workers: dict[int, subprocess.Popen[str]] = {}
    begun, crashes = dict[int, str](), 0
    try:
        for job in range(jobs):
            workers[job] = _start(job, surroundings[job], answer, question, done)
        while workers:
            job, told = done.get()
            if told is None:
                if code := _end(workers.pop(job)):
                    end = f"signal {-code}: {signal.strsignal(-code)}" if code < 0 else f"exit code {code}"
                    if job in begun:
                        lose(begun.pop(job), f"its process ended ({end})")
                    elif (crashes := crashes + 1) >= jobs:
                        what = "the processes that share the work end before they begin any of it"
                        raise ZooError(what, end, "See what they printed, or use jobs=1")
                    workers[job] = _start(job, surroundings[job], answer, question, done)
            elif "begun" in told:
                begun[job] = told["begun"]
            elif "done" in told:
                del begun[job]
                tell(told["done"])
            else:
                error = ZooError(told["what"], told["why"], told["fix"])
                error.exit_code = told["exit"]
                raise error
    finally:
        for worker in workers.values():
            _let_go(worker)
        for worker in workers.values():
            _end(worker)


def _let_go(worker: subprocess.Popen[str]) -> None:
    """End the input of a worker: it stops between two steps, after a checkpoint."""
    with suppress(OSError):
        cast("IO[str]", worker.stdin).close()


def _end(worker: subprocess.Popen[str]) -> int:
    code = worker.wait()
    _let_go(worker)
    return code


def _start(
    job: int, surroundings: Mapping[str, str], answer: Answer, question: Mapping[str, Any], done: queue.SimpleQueue[Any]
) -> subprocess.Popen[str]:
    paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
    worker = subprocess.Popen(
        # -P: a folder called zoo in the current folder must not be taken for this package.
        [sys.executable, "-P", "-m", "zoo.studies.pool", answer.__module__, answer.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths, **surroundings},
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C is for this process, which then stops the others
    )
    stdin, stdout = cast("IO[str]", worker.stdin), cast("IO[str]", worker.stdout)
    with suppress(OSError):  # it has ended already, which its exit code says
        stdin.write(json.dumps(question) + "\n")
        stdin.flush()

    def listen() -> None:
        with stdout, suppress(OSError, ValueError):
            for line in stdout:
                done.put((job, json.loads(line)))
        done.put((job, None))

    threading.Thread(target=listen, daemon=True).start()
    return worker


def share(job: int, jobs: int, device: str) -> dict[str, str]:
    """Return the environment of one of several workers: its share of the CPU threads, and one of several GPUs."""
    threads = max(1, min(count_cores(), torch.get_num_threads()) // jobs)
    found = {"OMP_NUM_THREADS": str(threads)}
    if device == "cuda":  # and not cuda:1, which all of them are to use
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = seen.split(",") if seen else list(map(str, range(torch.cuda.device_count())))
        found["CUDA_VISIBLE_DEVICES"] = devices[job % len(devices)]
    return found


def main(module: str, name: str) -> None:
    """In a worker: answer the question on stdin."""
    questions, answers = take_over(0, "r"), take_over(1, "w")
    question = json.loads(questions.readline())

    def watch() -> None:
        questions.read()
        # Nothing ever comes: this is the end of the process that started this one, or its wish.
        os.kill(os.getpid(), signal.SIGTERM)

    def write(**told: Any) -> None:
        with suppress(OSError):  # nobody hears it, and the record says it too
            answers.write(json.dumps(told) + "\n")
            answers.flush()

    threading.Thread(target=watch, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="Warning: %(message)s")
    answer: Answer = getattr(import_module(module), name)
    try:
        answer(question, lambda what, trial: write(**{what: trial}))
    except ZooError as error:
        first = error.problems[0]
        write(what=first.what, why=first.why, fix=first.fix, exit=error.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
