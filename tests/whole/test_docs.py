"""The documents tell the truth: their commands and code run, and made pages are what the code says.

Run as a script, this writes anew the made parts of docs/ and the keywords in zoo/registry/keywords.py.
"""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import click
import promises
import pytest
from click.testing import CliRunner
from datasets_page import make_datasets_page
from promises_page import make_promises_page
from python_page import GROUPS, find_errors, find_public, make_python_page

import zoo
from zoo.checks.base import explain
from zoo.checks.combination.contract import COMBINATION_CHECKS, check_overfit
from zoo.checks.dataset.contract import DATASET_CHECKS
from zoo.checks.logger import LOGGER_CHECKS
from zoo.checks.loss.contract import LOSS_CHECKS
from zoo.checks.metric.contract import METRIC_CHECKS
from zoo.checks.model.contract import MODEL_CHECKS
from zoo.checks.plugin import PLUGIN_CHECKS
from zoo.checks.recipe import RECIPE_CHECKS
from zoo.checks.weights import WEIGHTS_CHECKS
from zoo.cli.commands import COMMANDS
from zoo.cli.main import cli
from zoo.records.runs import RunRecord
from zoo.registry import hookspecs, manifest
from zoo.registry.metric import MergingMetric, Metric, SharingMetric
from zoo.registry.params import FIXED
from zoo.registry.settings import list_settings
from zoo.registry.specs import SPEC_CLASSES, DatasetSpec, FileSpec, LossSpec, MetricSpec, ModelSpec, Spec

if TYPE_CHECKING:
    from conftest import Environment

ROOT = Path(__file__).parents[2]
KEYWORDS_FILE = ROOT / "zoo" / "registry" / "keywords.py"
START, END = "<!-- made by tests/whole/test_docs.py: start -->", "<!-- end -->"
DECORATORS = {"model": zoo.model, "dataset": zoo.dataset, "metric": zoo.metric}


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def find_commands() -> Iterator[list[str]]:
    """Return the words of each command, those of a group after it."""
    yield []
    for name in COMMANDS:
        yield [name]
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            yield from ([name, inner] for inner in command.commands)


def make_cli_page() -> str:
    """Return the help of each command as Markdown."""
    parts = []
    for words in find_commands():
        help_text = CliRunner().invoke(cli, [*words, "--help"], prog_name="zoo", terminal_width=100).output
        parts.append(f"## `{' '.join(['zoo', *words])}`\n\n```text\n{help_text}```\n")
    return "\n".join(parts)


def read_docstring(thing: Any) -> tuple[str, dict[str, str]]:
    """Return the text of a docstring before `Fields:`, and what is said there of each field."""
    text, _, listed = (inspect.getdoc(thing) or "").partition("\n\nFields:\n")
    meanings: dict[str, str] = {}
    name = ""
    for line in listed.splitlines():
        if start := re.match(r" {4}(\w+): ", line):
            name = start[1]
            meanings[name] = line[start.end() :]
        else:
            meanings[name] += f" {line.strip()}"
    return text, meanings


def show_default(field: Field[Any]) -> str:
    """Return a field's default as code."""
    if field.default_factory is not MISSING:
        return f"`{field.default_factory()!r}`"
    return "required" if field.default is MISSING else f"`{field.default!r}`"


def describe_fields(described: type, without: type | None = None) -> str:
    """Return what a dataclass says of itself and a table of its fields; `without` those of another one."""
    text, meanings = read_docstring(described)
    known = {field.name for field in fields(without)} if without else set()
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field in fields(described):
        if field.name not in known:
            # A pipe would end the cell, in code as well.
            kind = str(field.type).replace("|", "\\|")
            rows.append(f"| `{field.name}` | `{kind}` | {show_default(field)} | {meanings.pop(field.name)} |")
    assert not meanings, f"{described.__name__}: no fields {set(meanings)}"
    return "\n".join([text, "", *rows])


def describe_calls(called: dict[str, Callable[..., Any]]) -> str:
    """Return a list of functions with their docstrings."""
    return "\n".join(f"- `{name}`: {read_docstring(function)[0]}" for name, function in called.items())


def describe_methods(described: type) -> str:
    """Return a list of the methods that a class itself has."""
    methods = {
        f"{name}({', '.join([*inspect.signature(method).parameters][1:])})": method
        for name, method in vars(described).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }
    return describe_calls(methods)


def make_contract_page() -> str:
    """Return the contract as the docstrings of specs and hooks say it."""
    calls = [f"- {read_docstring(SPEC_CLASSES[kind])[0].splitlines()[0]}" for kind in FIXED]
    optional = "\n\n".join(
        f"{inspect.getdoc(kind)}\n\n{describe_methods(kind)}" for kind in (MergingMetric, SharingMetric)
    )
    hooks = {f"{name}()": getattr(hookspecs, name) for name in hookspecs.HOOKS.values()}
    decorators = {f"@zoo.{kind}(name=..., ...)": decorator for kind, decorator in DECORATORS.items()}
    sections = {
        "Three calls": "\n".join(calls),
        "What each of them declares": describe_fields(Spec),
        "`ModelSpec`": describe_fields(ModelSpec, Spec),
        "`DatasetSpec`": describe_fields(DatasetSpec, Spec),
        "`FileSpec`": describe_fields(FileSpec),
        "`DataSplits`": describe_fields(zoo.DataSplits),
        "`Preprocess`": describe_fields(zoo.Preprocess),
        "`MetricSpec`": describe_fields(MetricSpec, Spec),
        "`RecipeSpec`": describe_fields(zoo.RecipeSpec),
        "`LossSpec`": describe_fields(LossSpec, Spec),
        "`WeightsSpec`": describe_fields(zoo.WeightsSpec),
        "`PretrainedWeights`": describe_fields(zoo.PretrainedWeights),
        "A metric object": f"{inspect.getdoc(Metric)}\n\n{describe_methods(Metric)}\n\n{optional}",
        "Manifests": inspect.getdoc(manifest),
        "Decorators": describe_calls(decorators),
        "Hooks": f"{inspect.getdoc(hookspecs)}\n\n{describe_calls(hooks)}",
    }
    return "\n".join(f"## {title}\n\n{text}\n" for title, text in sections.items())


def make_checks_page() -> str:
    """Return what each check asks and why, as the docstrings say it: the texts that findings show."""
    tables = {
        "A plugin": PLUGIN_CHECKS,
        "A model": MODEL_CHECKS,
        "A data set": DATASET_CHECKS,
        "A metric": METRIC_CHECKS,
        "A recipe": RECIPE_CHECKS,
        "A logger": LOGGER_CHECKS,
        "A loss": LOSS_CHECKS,
        "Weights": WEIGHTS_CHECKS,
        "A model on a data set: `zoo check`": {**COMBINATION_CHECKS, "overfit": check_overfit},
    }
    parts = []
    for title, checks in tables.items():
        parts.append(f"### {title}\n")
        for name, check in checks.items():
            asked = (inspect.getdoc(check) or "").partition("\n")[0]
            parts.append(f"**`{name}`**: {asked} {explain(check)}\n")
    return "\n".join(parts)


def make_record_page() -> str:
    """Return the keys of `run.json` as the docstring of the record says them."""
    text, meanings = read_docstring(RunRecord)
    rows = ["| key | meaning |", "|---|---|", *(f"| `{key}` | {meaning} |" for key, meaning in meanings.items())]
    assert [*meanings] == [field.name for field in fields(RunRecord)]
    return "\n".join([text, "", *rows])


MADE = {
    "guide/cli.md": make_cli_page,
    "guide/checks.md": make_checks_page,
    "reference/contract.md": make_contract_page,
    "reference/datasets.md": make_datasets_page,
    "reference/promises.md": make_promises_page,
    "reference/python.md": make_python_page,
    "reference/run-record.md": make_record_page,
}
KEYWORDS = '''"""The settings as keywords: a type checker then sees a misspelt one in a call of `zoo.run`.

Made from zoo/registry/settings.py by `python tests/whole/test_docs.py`; a test holds both equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict


class Settings(TypedDict, total=False):
    """What `zoo.run`, `zoo.run_seeds` and `zoo.check` take as `**settings`; None means not given."""

'''


def make_keywords() -> str:
    """Return the source of zoo/registry/keywords.py."""
    types = get_type_hints(zoo.TrainConfig)
    shown = {name: declared.given_type or show_type(types[name]) for name, declared in list_settings().items()}
    source = KEYWORDS + "".join(f"    {name}: {text}\n" for name, text in shown.items())
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(KEYWORDS_FILE), "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


def show_type(annotation: Any) -> str:
    """Return an annotation as source, with None for a setting that is not given."""
    options = [option for option in get_args(annotation) if option is not type(None)]
    if get_origin(annotation) is Literal:
        return "Literal[" + ", ".join(f'"{choice}"' for choice in options) + "] | None"
    return " | ".join([option.__name__ for option in options or [annotation]] + ["None"])


def test_keywords_are_the_settings():
    assert KEYWORDS_FILE.read_text(encoding="utf-8") == make_keywords(), "run python tests/whole/test_docs.py"


@pytest.mark.parametrize("page", MADE)
def test_made_pages_are_what_the_code_says(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert text[text.index(START) + len(START) : text.index(END)].strip() == MADE[page]().strip(), (
        f"docs/{page} is behind the code: run python tests/whole/test_docs.py"
    )


def test_nothing_is_promised_that_no_test_proves(tmp_path, monkeypatch):
    file, mark = tmp_path / "test_one.py", "pytest.mark.{}".format
    file.write_text(f"@{mark('promise')}('P3')\n@other\ndef test_it():\n    pass\n", encoding="utf-8")
    assert promises.find_proofs(tmp_path)["P3"] == ["test_one.py::test_it"]
    for wrong in (f"@{mark('promise')}('P0')\ndef test_it(): pass", f"class A:\n    mark = {mark('promise')}('P1')"):
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(ValueError, match=r"test_one.py: (no promises: P0|a mark of a promise)"):
            promises.find_proofs(tmp_path)
    assert len(promises.PROMISES) == 15
    monkeypatch.setitem(promises.PROMISES, "P16", promises.Promise("Fame", "Everybody knows you."))
    with pytest.raises(ValueError, match="P16, Fame: no test proves it"):
        make_promises_page()


def test_the_python_page_has_every_public_name_once():
    listed = [name for names in GROUPS.values() for name in names] + find_errors()
    assert sorted(listed) == sorted(find_public())
    # A name without a docstring of its own would be a heading with nothing under it.
    assert all(inspect.getdoc(thing) for thing in find_public().values())


def test_docstrings_of_specs_name_the_arguments_of_the_calls():
    for kind, arguments in FIXED.items():
        call = f"`factory(*, {', '.join((*arguments, '**params'))})`"
        assert call in read_docstring(SPEC_CLASSES[kind])[0]


@pytest.mark.slow
def test_foreign_weights_can_be_brought_as_the_page_shows(own_folder, warm_python):
    page = (ROOT / "docs" / "guide" / "foreign-weights.md").read_text(encoding="utf-8")
    program, commands = [], []
    for name, language, text in re.findall(r"(?:`([\w./-]+\.\w+)`:\n\n)?^```(\w+)\n(.*?)^```$", page, re.S | re.M):
        if name:
            Path(name).write_text(text, encoding="utf-8")
        else:
            (program if language == "python" else commands).append(text)
    assert len(program) == 12 and len(commands) == 3
    Path("program.py").write_text("\n".join(program), encoding="utf-8")
    shell = f'zoo() {{ "{warm_python}" -m zoo "$@"; }}\n{"".join(commands)}'
    printed = []
    for command in ([warm_python, "program.py"], ["bash", "-euc", shell]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert "Predictor(resnet18, 1000 classes, 3x224x224, cpu)" in printed[0]
    assert "wrong.safetensors was not saved" in printed[0]
    assert printed[1].count("verified ") == 2 and "accuracy  0." in printed[1]


def test_readme_opens_and_ends_with_a_complete_shell_block():
    install, *_, test = blocks(ROOT / "README.md", "sh")
    for block in (install, test):
        assert block.startswith("python3 -m venv .venv && . .venv/bin/activate\n")
    assert install.endswith("zoo run\n") and test.endswith("pytest\n")


class Reader:
    """Somebody who follows a page from top to bottom in an empty folder, offline.

    Commands are run, files are written, code without a file name is run. A file that is there already was made by a
    command: then the page must show exactly that. The first block that trains or checks is started as users start it,
    all that comes after it by the warm Python of that environment.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment, self.folder = environment, environment.home
        self.output, self.start = "", ""
        self.warm_start = f"""
            zoo() {{ {environment.warm} {environment.bin}/zoo "$@"; }}
            python() {{ {environment.warm} "$@"; }}
        """
        # Offline: what is installed is built with what is here. The one place where a page's command is not run as is.
        options = "--no-deps --no-build-isolation --no-index --quiet"
        self.pip = rf"{sys.executable} -m pip --python {environment.python} \1 {options}"

    def follow(self, page: Path) -> list[str]:
        """Follow the page; return what each shell block printed."""
        pattern = r"(?:`([\w./-]+\.\w+)`:\n\n)?^```(\w+)\n(.*?)^```$"
        content = page.read_text(encoding="utf-8")
        found = re.findall(pattern, content, re.DOTALL | re.MULTILINE)
        assert len(found) * 2 == content.count("```"), "a block without a language"
        printed = []
        for name, language, text in found:
            if language == "sh":
                commands = re.sub("^pip (install|wheel)", self.pip, text, flags=re.M)
                self.output = self.run("bash", "-euc", self.start + commands)
                printed.append(self.output)
                if re.search("zoo (run|check|plugin test)", text):
                    self.start = self.warm_start
            elif language == "text":
                assert text == self.output
            elif name:
                self.keep(self.folder / name, text)
            else:
                assert language == "python", f"nobody knows what to do with this:\n{text}"
                self.run(self.environment.warm, "-c", text)
        return printed

    def keep(self, file: Path, text: str) -> None:
        if file.exists():
            assert file.read_text(encoding="utf-8") == text, f"{file.name} is not what the page shows"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def run(self, *command: str | Path) -> str:
        path = f"{self.environment.bin}{os.pathsep}{os.environ['PATH']}"
        return self.environment.call(*command, PATH=path, COLUMNS="100").stdout


INSTALL = "python3 -m venv .venv && . .venv/bin/activate\npip install --quiet '.[plots]'\n"


@pytest.mark.slow
def test_readme_can_be_typed_from_top_to_bottom(make_environment, wheels, fashionmnist_root, tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    # The environment is there and this is a test: installing from the network and testing is what .ci/run does.
    *_, last = blocks(ROOT / "README.md", "sh")
    assert text.count(INSTALL) == text.count(last) == 1
    page = tmp_path / "README.md"
    page.write_text(text.replace(INSTALL, "").replace(f"```sh\n{last}```", ""), encoding="utf-8")
    environment = make_environment()
    environment.install(wheels["zoo-torch"])
    reader = Reader(environment)
    settings = f"export ZOO_DATA_DIR={shlex.quote(str(fashionmnist_root))} ZOO_OFFLINE=1\n"
    reader.start, reader.warm_start = settings + reader.start, settings + reader.warm_start
    first, tour, mine = reader.follow(page)
    assert re.search(r"accuracy 0\.8\d+", first), first
    assert "accuracy 0.8341" in tour and "1,000 samples of shapes" in tour
    assert "they differ" in tour and "report: report.html" in tour and "picture: predictions.png" in tour
    assert "wide: passed" in mine or "certified" in mine
    assert "weights: " in mine


@pytest.mark.slow
def test_writing_plugins_can_be_followed_literally(make_environment, wheels):
    environment = make_environment()
    environment.install(wheels["zoo-torch"])
    reader = Reader(environment)
    printed = reader.follow(ROOT / "docs" / "guide" / "writing-plugins.md")
    assert sum("weights: " in text for text in printed) == 15
    for expected in ("zoo-my-cnn/my-cnn", "hooks/my-cnn-32", "torchvision/resnet18", "factroy: unknown key"):
        assert any(expected in text for text in printed), expected


@pytest.mark.slow
def test_a_plugin_goes_from_refused_to_certified_as_the_page_shows(make_environment, wheels):
    environment = make_environment()
    environment.install(wheels["zoo-torch"])
    reader = Reader(environment)
    refused, checked, certified, shown, tested = reader.follow(ROOT / "docs" / "guide" / "checks.md")
    assert "activation" in refused and "fashion_v1.py:17" in refused
    assert "fashion_v1.py:17" in checked and "activation" in checked and "training samples of 1x28x28" in checked
    assert "fashion-v1: certified" in certified
    assert "certified" in shown and "1 passed" in tested


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def find_in_pages(pattern: str, flags: int = 0) -> list[tuple[Path, str]]:
    """Return what a pattern finds in all pages, each with its page; a page that was not found has nothing."""
    assert {"README.md", "CONTRIBUTING.md", "architecture.md", "checks.md"} <= {page.name for page in PAGES}
    return [(page, found) for page in PAGES for found in re.findall(pattern, page.read_text(encoding="utf-8"), flags)]


def test_links_lead_somewhere():
    links = find_in_pages(r"\]\(([^)#:]+)\)")
    assert len(links) > 20 and len({page for page, _ in links}) > 3, "hardly any link was found"
    for page, target in links:
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_commands_in_the_documents_exist():
    commands = find_in_pages(r"(?:^\$ |`|bin/)zoo ([a-z]+)", re.MULTILINE)
    assert len({command for _, command in commands}) > 5, "hardly any command was found"
    for page, command in commands:
        assert command in COMMANDS, f"{page.name}: zoo {command}"


ARCHITECTURE = (ROOT / "docs" / "design" / "architecture.md").read_text(encoding="utf-8")


def test_the_reading_order_is_seven_short_files():
    part = ARCHITECTURE[ARCHITECTURE.index("## Read in this order") : ARCHITECTURE.index("## The rooms")]
    listed = re.findall(r"^\d+\. \[`([^`]+)`\]", part, re.MULTILINE)
    assert len(listed) == 7
    for path in listed:
        # What is a list of declarations, entries or settings, is looked up and not read.
        limit = 500 if path in ("registry.toml", "zoo/registry/settings.py") else 250
        assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) < limit, path


def test_the_table_of_places_is_that_of_the_tree():
    part = ARCHITECTURE[ARCHITECTURE.index("## Where is ...") : ARCHITECTURE.index("## Words")]
    rows = re.findall(r"^\| (.+) \| `([^`]+)` \|$", part, re.MULTILINE)
    assert len(rows) >= 20 and len(rows) == part.count("\n| ") - 1
    for question, path in rows:
        assert (ROOT / path).is_file(), f"{question}: {path}"


def test_the_rooms_of_the_page_are_those_of_the_tree():
    part = ARCHITECTURE[ARCHITECTURE.index("## The rooms") : ARCHITECTURE.index("## Where is ...")]
    drawn = set(re.findall(r"\w+", " ".join(line[:28] for line in part.split("```")[1].splitlines())))
    assert drawn == {path.parent.name for path in (ROOT / "zoo").glob("*/__init__.py")}


if __name__ == "__main__":
    KEYWORDS_FILE.write_text(make_keywords(), encoding="utf-8", newline="\n")
    for page, make in MADE.items():
        path = ROOT / "docs" / page
        old = path.read_text(encoding="utf-8")
        new = f"{old[: old.index(START) + len(START)]}\n\n{make()}\n{old[old.index(END) :]}"
        path.write_text(new, encoding="utf-8", newline="\n")
