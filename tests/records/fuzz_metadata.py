"""Fuzz what a weights file says of itself by using it: `python tests/records/fuzz_metadata.py --minutes 10`.

Each execution changes the metadata of a good file and does with it what users do: shows it, verifies it, predicts with
it, evaluates, adapts, compares and plots it. All of that happens in one child process that may have 2 GB of data
(RLIMIT_DATA: heap and private memory, touched or not) beyond what it has once torch is imported. Whatever the file
says, a command may end with an exit code that says what is wrong, in short printable lines; never with a traceback, a
bug of zoo, a crash, or after more than two minutes. `--only N` repeats execution N of a seed.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import copy
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

MEMORY = 2 * 1024**3
"""Bytes of data that a child may take beyond what torch has taken."""
SECONDS = 120
"""Seconds that an execution may take on a machine that has other things to do as well."""
LINE = 2500
"""Characters of a line of a message, which may name a few paths and repeats three foreign texts at most."""
GOOD = {0, 2, 4, 5, 9}
ALSO = {"predict": {3}, "call": {3}, "evaluate": {8}, "compare": {8}, "plot": {8}}
"""Exit codes beside them: an image that cannot be brought to what the file asks for, a loss that is not finite."""

Table = dict[str, Any]
NUMBERS = [
    *(-1, 0, 1, 2, 3, 7, 255, 1000, 40_000, 10**6, 2**25, 2**25 + 1, 2**31 - 1, 2**31, 10**10, 10**12, 2**62),
    *(2**63 - 1, 2**63, 10**18, 10**20, -(10**18), 0.0, 0.5, -0.5, 1e-320, 1e-30, 1e30, 1e308, -1e308, 1.5),
]
TEXTS = [
    "",
    "x",
    "x" * 5000,
    "\x1b[2J\r\n",
    "a; rm -rf ~",
    "$(reboot)",
    "../../x",
    "/x.py",
    "--help",
    "'\"`",
    "\ud800",
    "é",
]
PARTS: list[Any] = [None, True, False, [], {}, [[]], [0], [1] * 64, [1] * 65, {"a": {"b": [1]}}, [None], "installed"]
SHAPES = [
    *([1, 28, 28], [3, 28, 28], [1, 40_000, 40_000], [3, 3000, 3000], [1, 5792, 5792], [1, 1, 2**25], [1, 2**25, 1]),
    *(
        [3, 2**13, 2**10],
        [2, 28, 28],
        [784],
        [28, 28],
        [1, 1, 28, 28],
        [1, 1, 1],
        [1, 14, 56],
        [2**25, 1, 1],
        [4, 9, 9],
    ),
]


def choose_value(chance: random.Random) -> Any:
    """Return a value that metadata may have somewhere, or nowhere."""
    return copy.deepcopy(chance.choice(chance.choice([NUMBERS, NUMBERS, TEXTS, PARTS, SHAPES])))


def change_anything(chance: random.Random, table: Table) -> None:
    """Put any value anywhere."""
    place: Any = table
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = chance.choice(keys)
        inner = place[key]
        if isinstance(inner, dict | list) and inner and chance.random() < 0.7:
            place = inner
            continue
        kind = chance.random()
        if kind < 0.1:
            del place[key]
        elif kind < 0.2 and isinstance(place, dict):
            place[f"{key}{chance.choice(TEXTS)}"] = choose_value(chance)
        elif kind < 0.3 and isinstance(inner, list):
            place[key] = inner * (chance.choice([0, 2, 1000]) if len(inner) < 1000 else 2)
        else:
            place[key] = choose_value(chance)
        return


def change_images(chance: random.Random, table: Table) -> None:
    """Let images of any shape become the inputs of the model: all that the forms ask for stays as it must be."""
    sides = [chance.choice([1, 5, 28, 99, 640, 3000, 5792, 10**4, 2**17, 2**20]) for _ in range(2)]
    shape = chance.choice([[*chance.choice(SHAPES)], [chance.choice([1, 1, 1, 3]), *sides]])
    channels = len(table["preprocess"]["mean"]) or table["input_shape"][0]
    table["image"] = {"shape": shape, "dtype": chance.choice(["uint8", "float32", "float64", "bool", "int64"])}
    table["image"]["range"] = chance.choice([[0, 255], [0, 1], [0, 0], [-1e308, 1e308]])
    table["preprocess"]["resize"] = table["input_shape"][1:]
    table["preprocess"]["interpolation"] = chance.choice(["bilinear", "bicubic", "nearest"])
    if chance.random() < 0.5:
        side = chance.choice([max(table["input_shape"][1:], default=1), 29, 1000, 2**20])
        table["preprocess"] |= {"resize": chance.choice([side, [side, 1000], None]), "crop": table["input_shape"][1:]}
    if shape[:1] != [channels]:
        table["preprocess"]["channels"] = channels
    golden = table.pop("golden", None)
    if golden and chance.random() < 0.5 and len(shape) == 3 and all(type(size) is int and size > 0 for size in shape):
        stride = max(shape)
        count = chance.choice([1, 8, 500])
        bits = {"uint8": 1, "bool": 1, "float32": 4}.get(table["image"]["dtype"], 8)
        kept = [count, shape[0], 1, 1]
        if count * shape[0] * bits < 10**6:
            images = base64.b64encode(bytes(count * shape[0] * bits)).decode()
            rows, labels = [golden["probabilities"][0]] * count, [golden["labels"][0]] * count
            table["golden"] = {"dtype": table["image"]["dtype"], "shape": kept, "stride": stride, "images": images}
            table["golden"] |= {"probabilities": rows, "labels": labels}


def change_params(chance: random.Random, table: Table) -> None:
    """Ask for another model, or for other data."""
    which = chance.random()
    if which < 0.4:
        table["params"] = {chance.choice(["hidden_units", "x", ""]): choose_value(chance)}
    elif which < 0.6:
        table["model"] = chance.choice(["baseline", "relu-mlp", "tinyvgg"])
    elif which < 0.8 and isinstance(table.get("dataset"), dict):
        key = chance.choice(["train_size", "test_size", "difficulty", "seed", "x"])
        table["dataset"]["params"] = {"train_size": 30, "test_size": 20, key: choose_value(chance)}
    else:
        table["plugin"] = {"name": chance.choice(["zoo", "torchvision", "evil"]), "version": "1", "source": "installed"}
        table["plugin"][chance.choice(["name", "version", "source"])] = choose_value(chance)


def change_classes(chance: random.Random, table: Table) -> None:
    """Name the classes anew."""
    count = chance.choice([len(table["class_names"])] * 3 + [0, 1, 2])
    names = [f"{chance.choice(TEXTS)}{index}" for index in range(count)]
    table["class_names"] = chance.choice([names, names, ["a"] * 5000, ["a"] * 100_001])


def change_inputs(chance: random.Random, table: Table) -> None:
    """Let the model take other inputs."""
    table["input_shape"] = [*chance.choice(SHAPES)]
    table["image"] = {**table["image"], "shape": table["input_shape"]}
    table["preprocess"] |= {"mean": [], "std": []}


def change_steps(chance: random.Random, table: Table) -> None:
    """Prepare images with other numbers."""
    channels = min(table["input_shape"][0], 5000)
    mean, std = ([chance.choice(NUMBERS) for _ in range(chance.choice([channels, channels, 2]))] for _ in range(2))
    std = [abs(value) or 1 for value in std] if chance.random() < 0.8 else std
    table["preprocess"] |= {"scale": chance.choice(NUMBERS)} if chance.random() < 0.5 else {"mean": mean, "std": std}


CHANGES = [change_anything] * 4 + [change_images] * 6 + [change_steps] * 3 + [change_classes] * 3
CHANGES += [change_params] * 3 + [change_inputs]


def change_metadata(chance: random.Random, table: Table) -> None:
    """Change metadata in one to three ways; half of the time nothing tells of it afterwards."""
    for _ in range(chance.choice([1] * 7 + [2, 3])):
        with contextlib.suppress(TypeError, KeyError, IndexError, AttributeError):  # an earlier change took it away
            chance.choice(CHANGES)(chance, table)
    for part in ("digests", "statistics", "golden"):
        if chance.random() < 0.5:
            table.pop(part, None)


class Fuzzer:
    """Files to start from, pictures to predict, and a folder for what comes of them."""

    def __init__(self, folder: Path) -> None:
        import numpy
        import safetensors.torch
        import torch
        from PIL import Image

        import zoo
        from zoo.cli.main import main
        from zoo.records.header import read_header

        self.folder, self.torch, self.zoo, self.main = folder, torch, zoo, main
        sizes = {"train_size": 30, "test_size": 20}
        runs = [
            zoo.run(model=model, epochs=0, dataset_params=sizes, runs_dir=folder / "runs")
            for model in ("baseline", "relu-mlp", "tinyvgg")
        ]
        self.files = [(read_header(run.weights).metadata, safetensors.torch.load_file(run.weights)) for run in runs]
        self.pictures = []
        for name, shape in {
            "small": (9, 7),
            "photo": (600, 800, 3),
            "tall": (60_000, 2),
            "wide": (2, 60_000, 3),
        }.items():
            Image.fromarray(numpy.full(shape, 99, numpy.uint8)).save(folder / f"{name}.png")
            self.pictures.append(str(folder / f"{name}.png"))
        self.save = safetensors.torch.save_file
        self.codes: Counter[str] = Counter()

    def execute(self, seed: int, number: int) -> None:
        """Change a file and use it in one way; raise AssertionError with what is wrong."""
        chance = random.Random(f"{seed} {number}")
        metadata, tensors = chance.choice(self.files)
        table: Table = json.loads(json.dumps(metadata))
        change_metadata(chance, table)
        path = self.folder / "w.safetensors"
        self.save(tensors, path, metadata={"zoo": json.dumps(table)})
        use = chance.choice([self.show, self.verify, self.predict, self.predict, self.call, self.evaluate, self.adapt])
        if chance.random() < 0.05:
            use = chance.choice([self.compare, self.plot])
        out, err = io.StringIO(), io.StringIO()
        signal.alarm(SECONDS)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = use(str(path), chance)
        signal.alarm(0)
        self.codes[f"{use.__name__} {code}"] += 1
        wrong = []
        if code not in GOOD | ALSO.get(use.__name__, set()):
            wrong.append(f"exit code {code}")
        if code and not err.getvalue().strip():
            wrong.append("nothing was said")
        for line in (out.getvalue() + err.getvalue()).splitlines():
            if not line.isprintable():
                wrong.append(f"not printable: {line!r:.300}")
        wrong += [f"a line of {len(line)} characters" for line in err.getvalue().splitlines() if len(line) > LINE]
        if wrong:
            logs = "".join(log.read_text()[-3000:] for log in Path(os.environ["ZOO_HOME"]).glob("logs/*"))
            raise AssertionError(f"{use.__name__}: {'; '.join(wrong)}\n{err.getvalue()[:3000]}\n{logs}")

    def show(self, path: str, chance: random.Random) -> int:
        return self.main(["show", path, *chance.choice([[], ["--json"]])])

    def verify(self, path: str, chance: random.Random) -> int:
        return self.main(["verify", path])

    def predict(self, path: str, chance: random.Random) -> int:
        names = chance.choices(self.pictures[:2], k=chance.choice([1, 2, 5])) + chance.choices(self.pictures, k=1)
        return self.main(["predict", path, *names, *chance.choice([[], ["--csv"], ["--json"], ["--top", "99"]])])

    def call(self, path: str, chance: random.Random) -> int:
        """Predict raw images of the very form that the file asks for."""
        try:
            predictor = self.zoo.load(path)
            shape = predictor.image["shape"]
            count = chance.choice([1, 3])
            if self.torch.Size(shape).numel() * count < 2**27:
                predictor(self.torch.zeros(count, *shape, dtype=self.torch.uint8))
        except self.zoo.ZooError as error:
            print(f"Error: {error}", file=sys.stderr)
            return error.exit_code
        return 0

    def evaluate(self, path: str, chance: random.Random) -> int:
        sizes = ["--dataset", "shapes", "--dataset-param", "train_size=10", "--dataset-param", "test_size=20"]
        return self.main(
            ["evaluate", path, *chance.choice([[], sizes]), *chance.choice([[], ["--per-class", "--json"]])]
        )

    def adapt(self, path: str, chance: random.Random) -> int:
        output = str(self.folder / "adapted.safetensors")
        return self.main(["adapt", path, "--num-classes", chance.choice(["2", "7"]), "--output", output])

    def compare(self, path: str, chance: random.Random) -> int:
        return self.main(["compare", path, *chance.choice([[], ["--csv"], ["--markdown"]])])

    def plot(self, path: str, chance: random.Random) -> int:
        kind = chance.choice(["confusion", "predictions", "wrong"])
        return self.main(["plot", path, "--kind", kind, "--output", str(self.folder / "a.svg")])


def read_data() -> int:
    """Return the bytes of data that this process has, as RLIMIT_DATA counts them."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData")]
    return int(line.split()[1]) * 1024


def stop_slow(number: int, frame: Any) -> None:
    raise AssertionError(f"it took more than {SECONDS} s")


def fuzz(options: argparse.Namespace) -> None:
    """Execute until the time is over, in this process."""
    for setting in ("ZOO_HOME", "ZOO_RUNS_DIR"):
        os.environ[setting] = f"{options.folder}/{setting}"
    signal.signal(signal.SIGALRM, stop_slow)
    fuzzer = Fuzzer(Path(options.folder))
    fuzzer.execute(0, 0)  # imports what is imported when it is used
    resource.setrlimit(resource.RLIMIT_DATA, (read_data() + MEMORY,) * 2)
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    number = -1
    numbers = [options.only] if options.only is not None else range(options.executions or sys.maxsize)
    for number in numbers:
        if options.minutes and time.monotonic() - start > 60 * options.minutes:
            break
        print(f"at {number}", file=sys.stderr, flush=True)
        fuzzer.execute(options.seed, number)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    beyond, there = (peak - before) / 1024, before / 1024
    print(f"{number + 1} executions, at most {beyond:.0f} MB beyond the {there:.0f} MB of torch and one use")
    print(", ".join(f"{what}: {count}" for what, count in sorted(fuzzer.codes.items())))


def main(arguments: list[str] | None = None) -> int:
    """Fuzz in a child; say how it ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--executions", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.folder:
        fuzz(options)
        return 0
    given = sys.argv[1:] if arguments is None else arguments
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "said").open("w+") as said:
        command = [sys.executable, __file__, *given, "--folder", folder]
        done = subprocess.run(command, stderr=said, check=False, cwd=folder)
        if done.returncode:
            said.seek(0)
            *_, rest = said.read().rpartition("\nat ")
            print(f"at {rest[-5000:]}", file=sys.stderr)
            print(f"the child ended with {done.returncode}; repeat it with --only and the last number", file=sys.stderr)
        return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
