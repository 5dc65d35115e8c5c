"""The start: what a listing costs with many plugins, models or weights, and `zoo` beside a bare click program."""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from measure import alternate, check_ratio, find_ratio, make_parser

import zoo

PLUGINS_LIMIT = 1.5
MODELS_LIMIT = 2
WEIGHTS_LIMIT = 1.5
HELP_LIMIT = 2
MODELS_EACH = 3
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: zoo-torch>=0.1\n"
MODEL = '\n[models.model-{number}]\nfactory = "{name}.model:Net"\ndescription = "A model"\nparams = {{ width = 64 }}\n'
WEIGHTS = """
[weights."net-{model}.tag-{number}"]
model = "net-{model}"
dataset = "imagenet"
loader = "{name}.weights:load"
description = "1,000 classes, inputs 224x224"
license = "apache-2.0"
homepage = "https://huggingface.co/owner/net-{model}.tag-{number}"
"""
WEIGHTS_EACH = 3
HOOKS = """
import zoo


@zoo.hookimpl
def zoo_models():
    for number in range({models}):
        yield zoo.ModelSpec(
            name=f"model-{{number}}", factory="{name}.model:Net", description="A model", params={{"width": 64}}
        )
"""
PROGRAMS = {
    # As an installer writes the console script.
    "zoo": "import sys\nfrom zoo.cli.main import entry\nif __name__ == '__main__':\n    sys.exit(entry())\n",
    "bare": """
import click


@click.command()
@click.option("--model", help="The model.")
def bare(model):
    "Do nothing."


if __name__ == "__main__":
    bare()
""",
}


class Setting:
    """A folder of installed packages and a `ZOO_HOME`, for processes that see no other settings."""

    def __init__(self, folder: Path) -> None:
        self.packages = folder / "packages"
        self.packages.mkdir(parents=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ZOO_"))}
        path = os.pathsep.join(filter(None, [str(self.packages), os.environ.get("PYTHONPATH")]))
        self.environment = {**kept, "PYTHONPATH": path, "ZOO_HOME": str(folder / "home")}

    def install(self, name: str, models: int, *, hooks: bool) -> None:
        """Leave a package as an installer does, with so many models in a manifest or from hooks."""
        package, info = self.packages / name, self.packages / f"{name}-1.0.dist-info"
        package.mkdir()
        info.mkdir()
        (package / "__init__.py").touch()
        if hooks:
            (package / "hooks.py").write_text(HOOKS.format(name=name, models=models))
        else:
            tables = (MODEL.format(name=name, number=number) for number in range(models))
            (package / "registry.toml").write_text("schema = 1\n" + "".join(tables))
        (info / "METADATA").write_text(METADATA.format(name=name))
        (info / "entry_points.txt").write_text(f"[zoo]\nmodels = {name}{'.hooks' if hooks else ':registry.toml'}\n")

    def install_weights(self, name: str, weights: int) -> None:
        """Leave a catalogue of models with so many weights, a few of each; of these the first is the default."""
        self.install(name, 0, hooks=False)
        places = [divmod(number, WEIGHTS_EACH) for number in range(weights)]
        models = (f'\n[models.net-{model}]\nfactory = "{name}.model:Net"\n' for model, tag in places if not tag)
        tables = (
            WEIGHTS.format(name=name, model=model, number=tag) + ("" if tag else "default = true\n")
            for model, tag in places
        )
        text = "".join(["schema = 1\nqualified_only = true\n", *models, *tables])
        (self.packages / name / "registry.toml").write_text(text)

    def call(self, *arguments: str | Path) -> tuple[float, str]:
        """Return the seconds that a Python process takes, and what it printed."""
        started = perf_counter()
        done = subprocess.run(
            [sys.executable, *map(str, arguments)], env=self.environment, capture_output=True, text=True, check=False
        )
        seconds = perf_counter() - started
        if done.returncode:
            sys.exit(f"{' '.join(map(str, arguments))} failed:\n{done.stderr}")
        return seconds, done.stdout

    def time(self, *arguments: str | Path) -> float:
        """Return the seconds that a Python process takes."""
        return self.call(*arguments)[0]


def make_listings(folder: Path, plugins: list[int], models: list[int]) -> dict[str, tuple[Setting, int]]:
    """Return settings by what is installed there, with the number of models that `zoo list` must show."""
    listings = {}
    for number in plugins:
        listings[f"{number} plugins"] = (Setting(folder / f"plugins-{number}"), number * MODELS_EACH)
        for plugin in range(number):
            listings[f"{number} plugins"][0].install(f"plugin_{plugin}", MODELS_EACH, hooks=plugin % 2 == 1)
    for form in ("manifest", "hooks"):
        for number in models:
            listings[f"{form}, {number} models"] = (Setting(folder / f"{form}-{number}"), number)
            listings[f"{form}, {number} models"][0].install("plugin", number, hooks=form == "hooks")
    return listings


def main() -> int:
    parser = make_parser(__doc__, rounds=15)
    parser.add_argument("--plugins", type=int, nargs="+", default=[0, 10, 50], help="how many, half of them manifests")
    parser.add_argument("--models", type=int, nargs="+", default=[10, 1000], help="how many in one plugin")
    parser.add_argument("--weights", type=int, nargs="+", default=[10, 3000], help="how many in one catalogue")
    options = parser.parse_args()
    # Without it each process may compile again what has no .pyc or a stale one.
    compileall.compile_dir(Path(zoo.__file__).parent, quiet=1)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, program in PROGRAMS.items():
            (folder / name).write_text(program)
        contenders = {}
        for name, (setting, expected) in make_listings(folder, options.plugins, options.models).items():
            seconds, printed = setting.call(folder / "zoo", "list")
            if printed.count("/model-") != expected:
                sys.exit(f"{name}: expected {expected} models in\n{printed}")
            print(f"{name:<24} {seconds:7.3f} s the first time, when the index is made")
            contenders[name] = partial(setting.time, folder / "zoo", "list")
        for number in options.weights:
            setting = Setting(folder / f"weights-{number}")
            setting.install_weights("plugin", number)
            for command, expected in (("list", f"{number} weights"), ("show", "plugin/net-0.tag-0: weights")):
                arguments = (folder / "zoo", command, *(["plugin/net-0@imagenet"] if command == "show" else []))
                if expected not in setting.call(*arguments)[1]:
                    sys.exit(f"zoo {command} says nothing of {expected}")
                contenders[f"{command}, {number} weights"] = partial(setting.time, *arguments)
        plain = Setting(folder / "plain")
        contenders["zoo --help"] = partial(plain.time, folder / "zoo", "--help")
        contenders["bare --help"] = partial(plain.time, folder / "bare", "--help")
        contenders["import zoo"] = partial(plain.time, "-c", "import zoo")
        contenders["pass"] = partial(plain.time, "-c", "pass")
        times = alternate(options.rounds, contenders)
    for name, seconds in times.items():
        print(f"{name:<24} {min(seconds):7.3f} s at least, median {median(seconds):.3f} s")
    few, *more = options.plugins
    pairs = [(f"{number} plugins", f"{few} plugins", PLUGINS_LIMIT) for number in more]
    few, *more = options.models
    for form in ("manifest", "hooks"):
        pairs += [(f"{form}, {number} models", f"{form}, {few} models", MODELS_LIMIT) for number in more]
    few, *more = options.weights
    for command in ("list", "show"):
        pairs += [(f"{command}, {n} weights", f"{command}, {few} weights", WEIGHTS_LIMIT) for n in more]
    pairs.append(("zoo --help", "bare --help", HELP_LIMIT))
    kept = [check_ratio(f"{name} / {other}", find_ratio(times, name, other), limit) for name, other, limit in pairs]
    print(f"{'import zoo / pass':<44} {find_ratio(times, 'import zoo', 'pass'):7.3f}")
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
