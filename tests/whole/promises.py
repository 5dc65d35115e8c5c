"""What zoo promises, in words; a test that proves a promise says so with `@pytest.mark.promise("P2")`.

`docs/reference/promises.md` is made of both, see `promises_page.py`.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Promise:
    """A promise: its name in one line, and what it means for who uses zoo."""

    title: str
    meaning: str


PROMISES = {
    "P1": Promise(
        "Nothing acknowledged is lost",
        "What zoo says is saved survives `kill -9`, a full disk and a crash of the machine. A save that fails "
        "leaves the file that was there before, to the byte. A weights file, a checkpoint, a record, a report: "
        "each is whole or is not there.",
    ),
    "P2": Promise(
        "Resuming is exact",
        "A run that was killed anywhere, as often as you like, and resumed has the weights and the history of one "
        "that never was, bit for bit, with the same torch, threads and device. Where these differ, a line says "
        "which before it goes on; data or settings that have changed are refused by name.",
    ),
    "P3": Promise(
        "Files are data",
        "No weights, checkpoint, run folder, manifest, data set or report can run code when zoo reads it. Nothing "
        "of these is a pickle; the state dicts of other programs, which are, are read by torch's reader of "
        "weights alone, which runs nothing. What torch's compiler keeps for `--compile` in your own folder is a "
        "program, and only read with that option.",
    ),
    "P4": Promise(
        "Checked before used",
        "Downloaded files are compared with the checksum that their data set declares before they have their "
        "name, and weights with the model before a tensor is copied. What does not fit is refused with what was "
        "expected and what is there.",
    ),
    "P5": Promise(
        "One bad plugin harms only itself",
        "Whatever a plugin does when it is looked at, raise, exit, hang or lie, everything that is not its own "
        "works as before, to the byte, and it is named with its version and what is wrong.",
    ),
    "P6": Promise(
        "Looking runs nobody's code",
        "`--help`, `--version`, `list`, `show` and `plugins` import neither torch nor a plugin. A plugin without "
        "a manifest is asked once after its installation what it has, in a process of its own with a time limit. "
        "`benchmarks/startup.py` says how long looking takes.",
    ),
    "P7": Promise(
        "Names stay inside",
        "No name, path, address, tensor or member of an archive makes zoo write or remove anything outside of the "
        "folders that are its own or that you named.",
    ),
    "P8": Promise(
        "Offline means offline",
        "With `--offline` or `ZOO_OFFLINE=1` no connection is tried and no name is looked up. What is here "
        "already is used without asking anybody. Nothing is ever reported home.",
    ),
    "P9": Promise(
        "Any number at once",
        "Processes that share data, cache and runs folder give what they give one after the other; none shows "
        "another one half a file. One run is trained by one process at a time.",
    ),
    "P10": Promise(
        "One line",
        "A failure is one line on stderr: what, why and what to do, with an exit code that has a meaning. A "
        "traceback comes with `--debug` only, results alone are on stdout, and text of strangers drives no "
        "terminal.",
    ),
    "P11": Promise(
        "Numbers do not lie",
        "A loss that is not finite ends the training at its step, and a model whose logits are not numbers has no "
        "accuracy. Scores are counted exactly, whatever the batch size and the order, and the record says by a "
        "digest which data they are of.",
    ),
    "P12": Promise(
        "Stopping is safe",
        "The first Ctrl-C, SIGTERM or SIGHUP lets the step come to its end, saves a checkpoint and says how to go "
        "on, with exit code 130, 143 or 129. The second one leaves at once, and the newest checkpoint is whole. "
        "Ctrl-Z and `fg` change no result.",
    ),
    "P13": Promise(
        "Any terminal",
        "A pipe, a closed or full stdout or stderr, a dumb, narrow or ASCII terminal: results are right, and what "
        "cannot be shown stops no work.",
    ),
    "P14": Promise(
        "Old files keep working",
        "Every later zoo of the same major version reads the weights that a release has written and gives the "
        "same predictions; a file of each release is kept and read in the tests. A newer format is refused by its "
        "number.",
    ),
    "P15": Promise(
        "A run can be repeated",
        "A run folder alone, or a weights file that somebody sent as far as it says enough, is enough to train it "
        "again. The repetition has the same bits, or what differs is named.",
    ),
}


def find_proofs(tests: Path = TESTS) -> dict[str, list[str]]:
    """Return the tests of each promise as `folder/file.py::name`, in the order of the files, read from their source.

    Raises:
        ValueError: a marker names no promise, or stands where this does not look for it.
    """
    proofs: dict[str, list[str]] = {name: [] for name in PROMISES}
    for path in sorted(tests.rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        if "mark.promise" not in source:
            continue
        tree, place, seen = ast.parse(source), path.relative_to(tests).as_posix(), 0
        common: list[str] = []
        for statement in tree.body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "pytestmark":
                common, found = _read_markers([statement.value], place)
                seen += found
        for statement in tree.body:
            if isinstance(statement, ast.FunctionDef) and statement.name.startswith("test_"):
                own, found = _read_markers(statement.decorator_list, place)
                seen += found
                for name in dict.fromkeys([*common, *own]):
                    proofs[name].append(f"{place}::{statement.name}")
        if seen != source.count("mark.promise("):
            raise ValueError(f"{place}: a mark of a promise that does not count: mark a test function or a whole file")
    return proofs


def _read_markers(nodes: list[ast.expr], place: str) -> tuple[list[str], int]:
    """Return the names that markers give, and how many markers of promises there are."""
    names, found = list[str](), 0
    for node in nodes:
        for call in node.elts if isinstance(node, ast.List) else [node]:
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.promise":
                found += 1
                names += [ast.literal_eval(argument) for argument in call.args]
    if unknown := set(names) - set(PROMISES):
        raise ValueError(f"{place}: no promises: {', '.join(sorted(unknown))}")
    return names, found
