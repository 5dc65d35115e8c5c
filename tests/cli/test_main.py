"""The command line, through its own door: output, errors, exit codes, terminals, pipes and signals."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import click
import pytest

import zoo
from zoo.cli.command import LONG, SECTIONS
from zoo.cli.commands import COMMANDS, EXAMPLES, LINES
from zoo.cli.main import cli, main

SMALL = ["--dataset-param", "train_size=640", "--dataset-param", "test_size=200"]
HEAVY = {"torch", "torchvision", "numpy", "pydantic", "requests", "PIL", "tqdm", "zoo_plugins", "safetensors"}
KEYS = {
    "run", "weights", "model", "dataset", "device", "threads", "seed", "params", "dataset_params", "train_config",
    "metrics", "history", "seconds", "verdict", "trend", "validation", "best", "recipe", "expected",
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_folder_of_runs(monkeypatch, own_folder):
    """Let runs go where they go by default: into the current folder, which is the test's own."""
    monkeypatch.delenv("ZOO_RUNS_DIR")


def zoo_process(*arguments, python=sys.executable, **options):
    return subprocess.Popen(
        [python, "-m", "zoo", *arguments],
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def test_run_prints_the_result_and_where_the_weights_are(capsys):
    assert main(["run", *SMALL, "--epochs", "2"]) == 0
    out, err = capsys.readouterr()
    scores, trained, weights = out.splitlines()
    assert re.fullmatch(r"accuracy 0\.\d{4}, test loss \d\.\d{4}", scores)
    assert re.fullmatch(r"trained 2 epochs in \d+\.\d\d s on cpu, 1 thread", trained)
    assert Path(weights.removeprefix("weights: ")).is_file()
    said = [line for line in err.splitlines() if not line.startswith(("Warning: model 'baseline': it never", "next: "))]
    assert len(said) == 2
    for number, line in enumerate(said, start=1):
        pattern = rf"epoch {number}  train loss \d\.\d{{4}}  test loss \d\.\d{{4}}  accuracy 0\.\d{{4}}  \d+\.\d\d s"
        assert re.fullmatch(pattern, line)


def list_next(err):
    lines = [line.removeprefix("next: ") for line in err.splitlines() if line.startswith("next: ")]
    return dict(reversed(line.split("  # ")) for line in lines)


@pytest.mark.slow
def test_what_to_try_next_works_when_it_is_pasted(capsys, tmp_path):
    folder = str(tmp_path / "my runs")
    assert main(["run", *SMALL, "--epochs", "1", "--runs-dir", folder]) == 0
    found = list_next(capsys.readouterr().err)
    assert list(found) == ["a better model", "a picture of what it takes for what", "is one better than another?"]
    better, picture, compare = found.values()
    sizes = "--dataset-param train_size=640 --dataset-param test_size=200"
    assert better == f"zoo run --model tinyvgg --dataset shapes {sizes}"
    for command in (f"{better} --epochs 1 --runs-dir '{folder}'", picture, compare):
        shell = f'zoo() {{ "{sys.executable}" -m zoo "$@"; }}; {command}'
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
    # The best model of its plugin has none above it, and in JSON nothing is suggested.
    assert "a better model" not in list_next(done.stderr) and Path("confusion.png").is_file()
    assert main(["run", "--model", "tinyvgg", *SMALL, "--epochs", "0"]) == 0
    assert list(list_next(capsys.readouterr().err)) == list(found)[1:]
    assert main(["run", *SMALL, "--epochs", "0", "--runs-dir=-x"]) == 0
    assert list(list_next(capsys.readouterr().err).values())[-1] == "zoo compare ./-x/*"  # else -x were options
    assert main(["run", *SMALL, "--epochs", "0", "--json"]) == 0
    assert not list_next(capsys.readouterr().err)


def test_run_json_is_one_object_and_equals_the_api(capsys, tmp_path):
    assert main(["run", "--json", *SMALL, "--epochs", "1", "--seed", "3", "--param", "hidden_units=12"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == KEYS
    assert set(printed["metrics"]) == {"loss", "accuracy"}
    (epoch,) = printed["history"]
    assert set(epoch) == {"epoch", "lr", "train", "test", "seconds"} and set(epoch["seconds"]) == {"train", "test"}
    result = zoo.run(
        dataset_params={"train_size": 640, "test_size": 200}, epochs=1, seed=3, params={"hidden_units": 12}
    )
    assert result.metrics == printed["metrics"] and result.params == printed["params"] == {"hidden_units": 12}
    assert result.train_config == printed["train_config"]
    assert set(result.to_dict()) == KEYS
    assert result.run != Path(printed["run"])


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ("run --model baselin", 2, "Error: no model named 'baselin'. Did you mean 'baseline'?"),
        ("run --dataset fashionmnis", 2, "Error: no dataset named 'fashionmnis'. Did you mean 'fashionmnist'?"),
        ("run --metric accurac", 2, "Error: no metric named 'accurac'. Did you mean 'accuracy'?"),
        ("run --learning-rate 1", 2, "Error: zoo run has no option '--learning-rate'. Did you mean '--lr'?"),
        ("run --epoch 1", 2, "Error: zoo run has no option '--epoch'. Did you mean '--epochs'?"),
        ("run --epochs", 2, "Error: Option '--epochs' requires an argument. See: zoo run --help"),
        ("run --lr 0", 2, "Error: lr: must be above 0.0, got '0'"),
        ("run --lr 1e400", 2, "Error: lr: must be finite, got '1e400'"),
        ("run --seed -1", 2, "Error: seed: must be at least 0, got '-1'"),
        ("run --batch-size 0", 2, "Error: batch_size: must be at least 1, got '0'"),
        ("run --optimizer lion", 2, "Error: optimizer: must be one of 'sgd', 'adam', 'adamw', 'adamax'"),
        ("run --param 3", 2, "Error: --param: expected NAME=VALUE, got '3'"),
        ("run --metric-param k=3", 2, "Error: --metric-param: expected METRIC.NAME=VALUE, got 'k=3'"),
        ("run --device gpu", 2, "Error: device 'gpu' was asked for, but torch has no device of that name."),
        ("run --device cpu:1", 2, "Error: device 'cpu:1' was asked for, but there is one cpu device."),
        ("run --plugin nothing.py", 2, "nothing.py': cannot be read: No such file or directory. Give a Python file"),
        ("run extra", 2, "Error: Got unexpected extra argument (extra). As in: zoo run --model tinyvgg"),
        ("rnu", 2, "Error: no command 'rnu'. Did you mean 'run'?"),
        ("list net", 2, "Error: no kind named 'net'."),
        ("show tinyvg", 2, "Error: no entry named 'tinyvg'. Did you mean 'tinyvgg'?"),
        ("run --lr 1e10", 8, "Error: the loss became nan at step"),
        ("run --dataset fashionmnist --offline", 6, "Error: cannot download fashionmnist: offline and not there"),
        ("run --runs-dir /dev/null/runs", 7, "Error: cannot write to /dev/null/runs"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(capsys, arguments, code, line):
    assert main(arguments.split()) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1 and line in err


@pytest.mark.promise("P10")
def test_every_problem_has_a_line(capsys):
    arguments = "run --model baselin --dataset shape --metric acuracy --epochs -1 --lr nan --seed 1.5"
    assert main(arguments.split()) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["no", "no", "no", "epochs:", "lr:", "seed:"]


@pytest.mark.promise("P10")
def test_with_json_an_error_is_one_object(capsys):
    assert main(["run", "--json", "--device", "gpu"]) == 2
    out, err = capsys.readouterr()
    error = json.loads(err)["error"]
    assert out == "" and set(error) == {"exit", "what", "why", "fix"} and error["exit"] == 2
    assert main(["run", "--json", "--model", "x", "--lr", "0"]) == 2
    assert len(json.loads(capsys.readouterr().err)["error"]["problems"]) == 2


def test_a_bad_environment_variable_is_named(capsys, monkeypatch):
    monkeypatch.setenv("ZOO_OFFLINE", "perhaps")
    assert main(["run", *SMALL]) == 2
    assert "ZOO_OFFLINE: expected 1, true" in capsys.readouterr().err


@pytest.mark.promise("P10")
def test_a_bug_of_ours_is_one_line_and_a_log(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("zoo.training.run.run", lambda **_: {}["surprise"])
    assert main(["run"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    (log,) = (tmp_path / "home" / "logs").iterdir()
    assert "KeyError: 'surprise'" in line and str(log) in line
    assert "Traceback" in log.read_text()
    assert main(["run", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.promise("P10")
def test_debug_shows_the_traceback_of_an_error(capsys, monkeypatch):
    monkeypatch.setenv("ZOO_DEBUG", "1")
    assert main(["run", "--model", "x"]) == 2
    assert "UnknownNameError" in capsys.readouterr().err


def test_list_shows_all_kinds(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    first, second = out.splitlines()[:2]
    assert first == "models" and second.split(maxsplit=1) == ["baseline", "Two linear layers, nothing between them"]
    headings = [line for line in out.splitlines() if not line.startswith(" ")]
    assert headings == ["models", "datasets", "metrics", "losses", "loggers", "recipes", "weights"]


def test_list_takes_a_kind_and_a_pattern(capsys):
    assert main(["list", "models", "--search", "*vgg", "--json"]) == 0
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert model["name"] == "tinyvgg" and model["plugin"]["version"] == zoo.__version__
    assert main(["list", "--search", "nothing-like-this"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "nothing matches" in err


def test_show_a_dataset(capsys):
    assert main(["show", "fashionmnist"]) == 0
    out = capsys.readouterr().out
    for text in ("1x28x28", "train 60000, test 10000", "0 T-shirt/top", "9 Ankle boot", "MIT", "30878645 bytes"):
        assert text in out
    assert main(["show", "fashionmnist", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert entry["samples"] == {"train": 60000, "test": 10000} and len(entry["files"]) == 4


def test_show_a_model_with_its_layers(capsys):
    assert main(["show", "tinyvgg"]) == 0
    out = capsys.readouterr().out
    assert "hidden_units=10" in out and "lr=0.1" in out and "layers" not in out
    assert main(["show", "tinyvgg", "--layers", "--param", "hidden_units=4", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)["layers"]
    assert table["layers"][0] == {
        "name": "block_1.0", "type": "Conv2d", "output_shape": [4, 28, 28], "parameters": 40
    }  # fmt: skip
    assert table["parameters"] == sum(layer["parameters"] for layer in table["layers"]) == table["trainable"]
    assert main(["show", "baseline", "--layers"]) == 0
    assert "7,960 parameters, 7,960 of them trainable" in capsys.readouterr().out


def test_a_plugin_file_is_listed_shown_and_run(capsys, tmp_path):
    (tmp_path / "my_model.py").write_text(
        "import torch\nimport zoo\n\n"
        "@zoo.model(name='mine', params={'width': 3})\n"
        "class Mine(torch.nn.Sequential):\n"
        "    def __init__(self, *, input_shape, num_classes, width: int = 3):\n"
        "        size = torch.Size(input_shape).numel()\n"
        "        flat, head = torch.nn.Flatten(), torch.nn.Linear(width, num_classes)\n"
        "        super().__init__(flat, torch.nn.Linear(size, width), head)\n"
    )
    plugin = ["--plugin", "my_model.py"]
    assert main(["list", "models", *plugin]) == 0
    assert "my-model/mine" in capsys.readouterr().out
    assert main(["run", "--model", "mine", *plugin, *SMALL, "--epochs", "1", "--param", "width=4", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["model"] == "mine" and result["params"] == {"width": 4}
    assert type(zoo.load_model(result["run"], plugins=["my_model.py"])).__name__ == "Mine"
    with pytest.raises(zoo.PluginError, match=r"Give it with plugins=\['.*my_model\.py'\]"):
        zoo.load_model(result["run"])


def test_without_a_command_the_help_page_tells_what_there_is(capsys):
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    assert main([]) == 2
    assert capsys.readouterr() == ("", page)


def test_plugins_names_what_is_there(capsys, tmp_path):
    (tmp_path / "mine.py").write_text("import zoo\n@zoo.model(name='baseline', aliases=['b'])\nclass Mine: ...\n")
    assert main(["plugins", "--json", "--plugin", "mine.py"]) == 0
    first, *_, last = json.loads(capsys.readouterr().out)["plugins"]
    assert (first["name"], first["entries"]["metrics"][0], first["status"]) == ("zoo", "accuracy", "ok")
    assert first["import_seconds"] is None
    assert (last["name"], last["entries"]["models"], last["status"]) == ("mine", ["mine/baseline"], "warning")
    assert last["warnings"] == ["model baseline is zoo's own; this plugin's is mine/baseline"]
    assert 0 < last["import_seconds"] < 60
    assert main(["plugins", "mine", "--plugin", "mine.py"]) == 0
    shown = capsys.readouterr().out
    for text in ("mine\n", str(tmp_path / "mine.py"), "warning", "mine/baseline", " s\n"):
        assert text in shown
    assert "accuracy" not in shown
    assert main(["plugins", "mines", "--plugin", "mine.py"]) == 2
    assert capsys.readouterr().err == "Error: no plugin named 'mines'. Did you mean 'mine'?\n"


@pytest.mark.promise("P6")
@pytest.mark.parametrize("arguments", ["--help", "--version", "list", "list --json", "show fashionmnist", "run --help"])
def test_looking_imports_nothing_heavy(arguments):
    code = (
        "import sys; from zoo.cli.main import main; code = main(sys.argv[1:]);"
        f"print(sorted({HEAVY!r} & {{name.partition('.')[0] for name in sys.modules}}), code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments.split()], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1:] == ["[] 0"]


def test_options_of_long_pages_have_a_section():
    known = {name for names in SECTIONS.values() for name in names.split()}
    every = {"help"}
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        options = {param.opts[-1][2:] for param in command.params if isinstance(param, click.Option)}
        every |= options | {f"{option}-of-{name}" for option in options}
        if len(options) >= LONG:
            assert options <= known, name
    assert known <= every, "a name that no option has"


def test_the_table_of_commands_is_their_own_help():
    context = click.Context(cli)
    for name, line in LINES.items():
        command = cli.get_command(context, name)
        assert command is not None and command.help is not None
        assert command.help.split("\n\n")[0].replace("\n", " ") == line


@pytest.mark.promise("P13")
def test_stdout_closed_or_full_is_an_error_where_it_is_the_product():
    for redirect in ("list >&-", "list > /dev/full", "--help > /dev/full"):
        done = subprocess.run(
            f"{sys.executable} -m zoo {redirect}", shell=True, stderr=subprocess.PIPE, text=True, check=False
        )
        assert done.returncode == 7 and done.stderr.startswith("Error: cannot write")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.promise("P13")
@pytest.mark.parametrize("argument", ["list", "--help"])
def test_a_reader_that_goes_away_is_no_error_message(argument):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "zoo", argument], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.promise("P13")
@pytest.mark.slow
@pytest.mark.parametrize("redirect", ["2>&-", "2> /dev/full"])
def test_stderr_closed_or_full_does_not_stop_a_run(redirect):
    command = f"{sys.executable} -m zoo run --json --epochs 1 {' '.join(SMALL)} {redirect}"
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0 and set(json.loads(done.stdout)) == KEYS


@pytest.mark.promise("P13")
def test_an_ascii_terminal_gets_replacements(tmp_path):
    (tmp_path / "registry.toml").write_text(
        "schema = 1\n[models.x]\nfactory = 'a:b'\ndescription = 'größer'\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "zoo", "list", "models", "--plugin", "registry.toml"],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0 and b"gr??er" in done.stdout


@pytest.mark.promise("P13")
@pytest.mark.slow
def test_a_terminal_gets_a_bar_and_a_pipe_gets_lines(warm_python):
    arguments = ["run", "--epochs", "2", "--dataset-param", "train_size=20000"]
    with zoo_process(*arguments, python=warm_python) as piped:
        out, err = piped.communicate()
    assert "\r" not in err and len(err.splitlines()) == 5 and len(out.splitlines()) == 3

    master, slave = pty.openpty()
    with zoo_process(*arguments, python=warm_python, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                chunk = os.read(master, 4096)
            except OSError:  # the terminal's other end is closed
                break
            if not chunk:
                break
            shown += chunk
    os.close(master)
    text = shown.decode()
    assert process.returncode == 0
    assert "epoch 1:" in text and "\r" in text and "loss" in text and "batch/s" in text
    assert re.search(r"epoch 2  train loss \d\.\d{4}", text)
    # What is done before the first step is said at once, each time in place of what was said before.
    before, _, _ = text.partition("epoch 1:")
    said = ["starting torch ...", "loading shapes ...", "building baseline ...", "rehearsing baseline ..."]
    assert before.replace("\r\x1b[J", "\r\x1b[K") == "\r\x1b[K".join([*said, ""])
    assert "Warning" not in text and "loss 0.0000" not in text


@pytest.mark.promise("P12")
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_during_training_ends_it_with_one_line_and_keeps_what_was_done(tmp_path, number, code):
    # A child of a shell's background job may inherit SIGINT as ignored, one of nohup SIGHUP: ask for the default.
    def listen():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    process = zoo_process("run", "--epochs", "100000", *SMALL, preexec_fn=listen)
    with process:
        assert process.stderr.readline().startswith("epoch 1")
        process.send_signal(number)
        out, err = process.communicate(timeout=600)
    rest = [line for line in err.splitlines() if not line.startswith("epoch")]
    assert process.returncode == code and out == ""
    (folder,) = (tmp_path / "runs").iterdir()
    record = json.loads((folder / "run.json").read_text())
    epochs = len(record["history"])
    assert record["status"] == "interrupted" and epochs >= 1
    (told,) = rest
    kept = f"weights of epoch {epochs}: {folder / 'weights.safetensors'}"
    start = f"Stopped. {epochs} of 100000 epochs are recorded in {folder}; {kept}. It goes on from step "
    assert told.startswith(start) and told.endswith(f" with: zoo resume {folder}")
    assert zoo.verify(folder).checks["golden samples"].startswith("8 replayed")


@pytest.mark.promise("P12")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_while_the_command_line_is_read_ends_the_program_likewise(monkeypatch, capsys, number, code):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

    class Out(StringIO):
        def write(self, text):
            signal.raise_signal(number)

    monkeypatch.setattr("sys.stdout", Out())
    assert main(["--version"]) == code
    assert capsys.readouterr().err == "Stopped.\n"


@pytest.mark.promise("P12")
def test_a_program_under_nohup_goes_on_ignoring_its_terminal():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert main(["list"]) == 0
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_hints_name_only_what_exists():
    context = click.Context(cli)
    commands = [cli.get_command(context, name) for name in COMMANDS]
    commands += [sub for command in commands if isinstance(command, click.Group) for sub in command.commands.values()]
    options = {option for command in commands for parameter in command.params for option in parameter.opts}
    options |= {"--help", "--version"}
    root = Path(zoo.__file__).parent
    sources = list(root.rglob("*.py"))
    # Not the variables of the report's style sheet, var(--page) say.
    spelled = r"(?<!var\()--[a-z][a-z-]+[0-9]*"
    mentioned = {(path.name, option) for path in sources for option in re.findall(spelled, path.read_text())}
    assert len(sources) > 100 and len(mentioned) > 20, "hardly anything was read"
    assert {option for _, option in mentioned} - options <= {"--no-deps"}, mentioned
    named = {
        match
        for path in sources
        for match in re.findall(r"(?:See:|Did you mean '|As in:) ?zoo (\w+)", path.read_text())
    }
    assert named and named <= set(COMMANDS)


@pytest.mark.parametrize("command", EXAMPLES)
def test_each_command_has_an_example_that_is_its_own(command):
    program, name, *line = EXAMPLES[command].split()
    found = cli.get_command(click.Context(cli), name)
    assert program == "zoo" and f"{name} {' '.join(line)}".startswith(command)
    if isinstance(found, click.Group) and line[0] in found.commands:
        found, line = found.commands[line[0]], line[1:]
    found.make_context(command, line)  # raises for an option or an argument that the command does not have
