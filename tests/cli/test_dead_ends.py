"""Nothing typed is a dead end: command lines that do not work, with their exit code and what is said."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from zoo.cli.commands import COMMANDS
from zoo.cli.main import main
from zoo.cli.words import OPTIONS, SUBCOMMANDS, WORDS

OWN = (
    "Pictures of your own are given by the path of their folder, ./photos say; other data take a plugin of a few "
    "lines: zoo plugin new NAME --kind dataset"
)
REPEAT = "zoo resume RUN goes on with a run; zoo run --init @last starts one from the weights of the last run"
FILES = (
    "Weights are plain safetensors: zoo.load_model(WEIGHTS) or safetensors in a program reads them; zoo show WEIGHTS "
    "names the file"
)
VERBOSE = (
    "zoo -V shows the version; zoo check and zoo plugin test take --verbose, --debug shows the traceback of an error"
)
EMPTY = "is empty. Give a value, or leave it out; a variable of the shell that is not set gives this"

NO_SUCH_COMMAND = [
    ("train", "Did you mean 'zoo run'?"),
    ("fit --epochs 3", "Did you mean 'zoo run'?"),
    ("finetune", "Did you mean 'zoo run --init WEIGHTS'?"),
    ("eval", "Did you mean 'zoo evaluate'?"),
    ("test", "Did you mean 'zoo evaluate'?"),
    ("val", "Did you mean 'zoo evaluate'?"),
    ("infer", "Did you mean 'zoo predict'?"),
    ("Train", "Did you mean 'zoo run'?"),
    ("models", "Did you mean 'zoo list models'?"),
    ("model", "Did you mean 'zoo list models'?"),
    ("datasets", "Did you mean 'zoo list datasets'?"),
    ("info", "Did you mean 'zoo show NAME'?"),
    ("summary", "Did you mean 'zoo show NAME'?"),
    ("init", "Did you mean 'zoo plugin new NAME --kind model'?"),
    ("export", FILES),
    ("onnx", FILES),
    ("serve", "zoo has no server; zoo.load(WEIGHTS) in a program of yours gives what answers"),
    ("download", "Did you mean 'zoo data fetch DATASET'?"),
    ("hpo", "Did you mean 'zoo sweep'?"),
    ("install", "A plugin is a package of your environment: pip install it, then zoo plugins lists it"),
    ("history", "Did you mean 'zoo runs'?"),
    ("rm x", "Uninstall the package of a plugin with pip; zoo runs remove RUN takes a run away"),
    ("rnu", "Did you mean 'run'?"),
    ("tinyvgg", "Did you mean 'zoo run --model tinyvgg'?"),
    ("shapes --epochs 1", "Did you mean 'zoo run --dataset shapes --epochs 1'?"),
    ("@last", "Did you mean 'zoo show @last'?"),
    ("xyzzy", "See: zoo -h"),
    ("help trian", "See: zoo -h"),
]
NO_SUCH_OPTION = [
    ("-v", "", VERBOSE),
    ("--verbose", "", VERBOSE),
    ("--model x", "", "Options follow their command: zoo run --model x"),
    ("--epochs 3 run", "", "Options follow their command: zoo run --epochs 3"),
    ("--sort license list", "", "Options follow their command: zoo list --sort license"),
    ("run --resume", "run", REPEAT),
    ("run --amp", "run", "Did you mean '--precision'?"),
    ("run --scheduler cosine", "run", "Did you mean '--schedule'?"),
    (
        "run --wandb",
        "run",
        "zoo has no logger of that name; zoo list loggers shows them, and a plugin can bring one",
    ),
    ("run --learning-rate 1", "run", "Did you mean '--lr'?"),
    ("run --batchsize 1", "run", "Did you mean '--batch-size'?"),
    ("run --batch_size 1", "run", "Did you mean '--batch-size'?"),
    ("run -epochs 3", "run", "Did you mean '--epochs'?"),
    ("run -learning_rate=3", "run", "Did you mean '--lr'?"),
    ("run -e 3", "run", "Did you mean '--epochs'?"),
    ("run --pretrained", "run", "Did you mean '--init'?"),
    ("run --gpu", "run", "Did you mean '--device'?"),
    ("run --imgsz 64", "run", "Did you mean '--input-size'?"),
    ("run --num-workers 2", "run", "Did you mean '--workers'?"),
    ("run --output-dir x", "run", "Did you mean '--runs-dir'?"),
    ("run --per-class", "run", "--per-class is an option of zoo evaluate"),
    ("run --xyzzy", "run", "See: zoo run --help"),
    ("run -v", "run", VERBOSE),
    ("evaluate @last --epochs 3", "evaluate", "--epochs is an option of zoo run, zoo resume, zoo sweep"),
    ("evaluate @last --batch-size 3", "evaluate", "--batch-size is an option of zoo run, zoo sweep, zoo matrix"),
    ("plugin new x --type model", "plugin new", "See: zoo plugin new --help"),
]
OTHERS = [
    ("runs rm x", 2, "zoo runs has no command 'rm'. Did you mean 'zoo runs remove RUN'?"),
    ("runs 2026-x", 2, "zoo runs has no command '2026-x'. Did you mean 'zoo runs show 2026-x'?"),
    ("runs remov x", 2, "zoo runs has no command 'remov'. Did you mean 'zoo runs remove'?"),
    ("show nosuch", 2, "no entry named 'nosuch'. See: zoo list"),
    ("show models", 2, "no entry named 'models'. Did you mean 'zoo list models'?"),
    ("list modles", 2, "no kind named 'modles'. Did you mean 'zoo list models'?"),
    ("predict tinyvgg@fashonmnist x.png", 2, "no dataset named 'fashonmnist'. Did you mean 'tinyvgg@fashionmnist'?"),
    (
        "run --init timm/mobilenetv4_conv_smal.e2400_r224_in1k",
        4,
        "no weights at 'timm/mobilenetv4_conv_smal.e2400_r224_in1k': no such file. "
        "Did you mean 'timm/mobilenetv4_conv_small.e2400_r224_in1k'?",
    ),
    ("run --dataset fotos/", 2, "no dataset named 'fotos/'. Nor is there such a folder"),
    (
        "convert x.pth --model tinyvgg --mean 0.5 0.4 0.3 --std .2 .2 1 --output y.safetensors",
        2,
        "Got unexpected extra arguments (0.4 0.3 .2 1). Numbers of one option have commas between them: "
        "--mean 0.5,0.4,0.3",
    ),
    ("list tinyvgg", 2, "no kind named 'tinyvgg'. Did you mean 'zoo list --search tinyvgg'?"),
    ("run baseline", 2, "Got unexpected extra argument (baseline). Did you mean 'zoo run --model baseline'?"),
    (
        "run tinyvgg shapes epochs=3 --lr 1",
        2,
        "Got unexpected extra arguments (tinyvgg shapes epochs=3). "
        "Did you mean 'zoo run --model tinyvgg --dataset shapes --epochs 3 --lr 1'?",
    ),
    (
        "run baseline hidden_units=3",
        2,
        "Got unexpected extra arguments (baseline hidden_units=3). "
        "Did you mean 'zoo run --model baseline --param hidden_units=3'?",
    ),
    ("run @last", 2, "Got unexpected extra argument (@last). Did you mean 'zoo run --init @last'?"),
    ("run my.py", 2, "Got unexpected extra argument (my.py). Did you mean 'zoo run --plugin my.py'?"),
    ("run photos", 2, "Got unexpected extra argument (photos). Did you mean 'zoo run --dataset ./photos'?"),
    (
        "run what",
        2,
        "Got unexpected extra argument (what). As in: zoo run --model tinyvgg --dataset fashionmnist. "
        "See: zoo run --help",
    ),
    ("run --epochs --lr 3", 2, "Got unexpected extra argument (3). --epochs has no value"),
    ("run help", 2, "Got unexpected extra argument (help). Did you mean 'zoo run --help'?"),
    (
        "samples shapes test",
        2,
        "Got unexpected extra argument (test). Did you mean 'zoo samples --split test shapes'?",
    ),
    (
        "evaluate @last shapes",
        2,
        "Got unexpected extra argument (shapes). Did you mean 'zoo evaluate --dataset shapes @last'?",
    ),
    (
        "run --metric bleu",
        2,
        "no metric named 'bleu'. One of your own takes a plugin of a few lines: zoo plugin new NAME --kind metric",
    ),
    ("run --metric f1", 2, "no metric named 'f1'. Did you mean 'f1-macro', 'f1-micro' or 'f1-weighted'? "),
    ("show ./photos", 2, "no entry named './photos'. To count the pictures of a folder: zoo show ./photos --counts"),
    ("check baseline", 2, "Got unexpected extra argument (baseline). Did you mean 'zoo check --model baseline'?"),
    ("run --dataset fashonmnist", 2, f"no dataset named 'fashonmnist'. Did you mean 'fashionmnist'? {OWN}"),
    ("run --dataset food101", 2, f"no dataset named 'food101'. Did you mean 'torchvision/food101'? {OWN}"),
    ("run --dataset ./photos", 3, "photos: class 'cats' has no pictures. Remove the folder, or put pictures into it"),
    ("run --dataset photos", 2, "no dataset named 'photos'. Did you mean './photos', the folder?"),
    ("data list ./photos", 2, "no dataset named './photos'. A folder of your own is used where it is"),
    ("data fetch shapes shapes photos", 2, "no dataset named 'photos'. A folder of your own is used where it is"),
    ("data remove ../..", 2, "no dataset named '../..'. A folder of your own is used where it is"),
    ("samples photos/", 3, "photos: class 'cats' has no pictures. Remove the folder, or put pictures into it"),
    ("samples tinyvgg", 2, "no dataset named 'tinyvgg'. 'tinyvgg' is a model"),
    ("run --model shapes", 2, "no model named 'shapes'. 'shapes' is a dataset"),
    ("run --metric tinyvgg", 2, "no metric named 'tinyvgg'. 'tinyvgg' is a model"),
    (
        "run --dataset tinyvgg@fashionmnist",
        2,
        "no dataset named 'tinyvgg@fashionmnist'. tinyvgg@fashionmnist means weights: zoo show tinyvgg@fashionmnist; "
        "to start from them: zoo run --init tinyvgg@fashionmnist",
    ),
    (
        "run --model my.py",
        2,
        "no model named 'my.py'. A plugin file is given with --plugin my.py; zoo list --plugin my.py shows the names "
        "in it",
    ),
    ("run --dataset https://a.b/c.zip", 2, "zoo opens no address: download what is there and give the file"),
    ("run --dataset=", 2, f"--dataset {EMPTY}"),
    ("run --init=", 2, f"--init {EMPTY}"),
    ("run --metric=", 2, f"--metric {EMPTY}"),
    ("show tinyvgg --layers --dataset=", 2, f"--dataset {EMPTY}"),
    (
        "run --dataset fashionmnist --data-dir data/FashionMNIST/raw",
        2,
        "data_dir: expected the folder in which FashionMNIST/raw/train-images-idx3-ubyte.gz lies, got "
        "'HERE/data/FashionMNIST/raw'. Give HERE/data",
    ),
    ("plugin", 2, "Missing command. As in: zoo plugin new my-model --kind model. See: zoo plugin --help"),
    (
        "plugin new",
        2,
        "Missing argument 'NAME'. As in: zoo plugin new my-model --kind model. See: zoo plugin new --help",
    ),
    ("plugin list", 2, "zoo plugin has no command 'list'. Did you mean 'zoo plugins'?"),
    ("plugin certify x", 2, "zoo plugin has no command 'certify'. Did you mean 'zoo plugin test'?"),
    ("plugin nwe x", 2, "zoo plugin has no command 'nwe'. Did you mean 'zoo plugin new'?"),
    ("plugins new x", 2, "Got unexpected extra argument (x). Did you mean 'zoo plugin new x'?"),
    ("plugins new", 2, "no plugin named 'new'. Did you mean 'zoo plugin new'?"),
    ("evaluate", 2, "Missing argument 'WEIGHTS'. As in: zoo evaluate @last. See: zoo evaluate --help"),
    ("samples", 2, "Missing argument 'DATASET'. As in: zoo samples shapes. See: zoo samples --help"),
    ("help run now", 2, "zoo run has no commands. See: zoo run --help"),
    ("completion", 2, "Missing argument 'bash|zsh|fish'"),
    ("predict tinyvgg x.png", 2, "no weights named 'tinyvgg'. 'tinyvgg' is a model; its weights: tinyvgg@fashionmnist"),
    (
        "evaluate fashionmnist",
        2,
        "no weights named 'fashionmnist'. 'fashionmnist' is a dataset; its weights: baseline@fashionmnist, "
        "relu-mlp@fashionmnist, small-resnet@fashionmnist, tinyvgg@fashionmnist",
    ),
    (
        "verify shapes",
        2,
        "no weights named 'shapes'. 'shapes' is a dataset, and no weights of it are registered. Train some: zoo run "
        "--dataset shapes",
    ),
    ("evaluate accuracy", 2, "no weights named 'accuracy'. 'accuracy' is a metric"),
    (
        "predict runs x.png",
        4,
        "no weights at 'runs': it is a folder of 1 run. Give one of them, runs/RUN say, or @last, the newest",
    ),
    ("compare runs", 4, "no weights at 'runs': it is a folder of 1 run. All of them are runs/*"),
    ("report runs/ --output r.html", 4, "no weights at 'runs': it is a folder of 1 run. All of them are runs/*"),
    (
        "verify photos",
        4,
        "no weights at 'photos': the folder is neither a run nor does it hold weights. Give a .safetensors file or a "
        "run folder",
    ),
    (
        "predict https://a.b/c.safetensors x.png",
        4,
        "no weights at 'https://a.b/c.safetensors': zoo opens no address. Download the file and give its path; zoo "
        "list weights names those that zoo fetches itself",
    ),
    ("predict @last https://a.b/x.png", 2, "'https://a.b/x.png' is a URL. Download it first, then give the file."),
    ("predict @last photos", 3, "'photos': a folder without images"),
    ("predict x.png", 2, "Missing argument 'IMAGE|FOLDER|-...'. The weights come first: zoo predict @last x.png"),
    (
        "predict x.png @last",
        3,
        "'@last': cannot be read: No such file or directory. The weights come first: zoo predict @last x.png",
    ),
    (
        "list weights --sort acuracy",
        2,
        "nothing can be sorted by 'acuracy'. Did you mean 'accuracy'? Known: name, plugin, license, model, dataset, "
        "parameters, accuracy, loss",
    ),
    ("list --sort loss", 2, "nothing can be sorted by 'loss'. Known for all kinds, name one for more: name, plugin"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the command lines name: an image, a folder of none, a run, and data."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "photos" / "cats").mkdir(parents=True)
    Image.new("L", (28, 28), 200).save(folder / "x.png")
    raw = folder / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").touch()
    small = ["--epochs", "0", "--dataset-param", "train_size=100", "--dataset-param", "test_size=100"]
    assert main(["run", "--runs-dir", str(folder / "runs"), *small]) == 0
    return folder


@pytest.fixture(autouse=True)
def there(place, monkeypatch):
    monkeypatch.delenv("ZOO_RUNS_DIR")
    with monkeypatch.context() as patch:
        patch.chdir(place)
        yield


def say(capsys, arguments):
    """Return the exit code and the one line that is said, the test's own folder replaced."""
    code = main(arguments.split())
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    (run,) = Path("runs").iterdir()
    return code, line.replace(str(Path.cwd()), "HERE").replace(run.name, "RUN")


@pytest.mark.parametrize(("arguments", "line"), NO_SUCH_COMMAND)
def test_a_command_of_other_tools(capsys, arguments, line):
    word = arguments.removeprefix("help ").split()[0]
    assert say(capsys, arguments) == (2, f"Error: no command '{word}'. {line}")


@pytest.mark.parametrize(("arguments", "command", "line"), NO_SUCH_OPTION)
def test_an_option_of_other_tools(capsys, arguments, command, line):
    option = next(word for word in arguments.split() if word.startswith("-") and f"'{word}'" not in line)
    if arguments.startswith("run --batch_size"):
        option = "--batch_size"
    where = f"zoo {command}".rstrip()
    assert say(capsys, arguments) == (2, f"Error: {where} has no option '{option.partition('=')[0]}'. {line}")


@pytest.mark.parametrize(("arguments", "code", "line"), OTHERS)
def test_one_kind_of_thing_for_another(capsys, arguments, code, line):
    told, said = say(capsys, arguments)
    assert told == code and said.startswith("Error: ") and line in said


def test_no_word_means_two_things():
    for table in (WORDS, OPTIONS, *SUBCOMMANDS.values()):
        words = [word for words in table.values() for word in words.split()]
        assert [word for word, count in Counter(words).items() if count > 1] == []
        assert all(word == word.lower() and "_" not in word for word in words)
    assert not {word for words in WORDS.values() for word in words.split()} & set(COMMANDS)


def test_a_broken_plugin_of_the_environment_hides_no_hint(capsys, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "nowhere.py")
    assert main(["run", "baseline"]) == 2
    assert capsys.readouterr().err.startswith("Error: Got unexpected extra argument (baseline). As in: zoo run ")


def test_each_of_two_that_were_mixed_up_is_named(capsys):
    assert main(["predict", "gone.png", "@last"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "Error: no weights named 'gone.png'. See: zoo list weights"
    assert second.endswith("The weights come first: zoo predict @last gone.png")


def test_json_errors_have_the_hint_too(capsys):
    assert main(["run", "--json", "--dataset", "fashonmnist"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["what"] == "no dataset named 'fashonmnist'" and error["fix"] == f"Did you mean 'fashionmnist'? {OWN}"


@pytest.mark.parametrize("arguments", ["-V", "--version", "version"])
def test_the_version(capsys, arguments):
    assert main([arguments]) == 0
    assert capsys.readouterr().out.startswith("zoo ")


def test_one_of_a_kind_is_a_kind(capsys):
    for one, many in (("model", "models"), ("weight", "weights")):
        assert main(["list", one]) == 0
        listed = capsys.readouterr().out
        assert main(["list", many]) == 0
        assert capsys.readouterr().out == listed


@pytest.mark.parametrize(
    ("key", "names", "values"),
    [
        ("accuracy", ["small-resnet", "tinyvgg", "relu-mlp", "baseline"], ["0.9325", "0.8780", "0.8398", "0.8341"]),
        ("loss", ["small-resnet", "tinyvgg", "relu-mlp", "baseline"], ["0.2242", "0.3276", "0.4577", "0.4769"]),
        ("parameters", ["tinyvgg", "baseline", "relu-mlp", "small-resnet"], ["7,740", "7,960", "7,960", "275,312"]),
        ("license", ["baseline", "relu-mlp", "small-resnet", "tinyvgg"], ["MIT"] * 4),
    ],
)
def test_weights_in_order(capsys, key, names, values):
    assert main(["list", "weights", "--sort", key, "--no-plugin", "all"]) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == [f"{name}-fashionmnist" for name in names]
    assert [row.split()[1] for row in rows] == values
    assert main(["list", "weights", "--sort", key, "--no-plugin", "all", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["weights"]
    assert [each["name"] for each in listed] == [f"{name}-fashionmnist" for name in names]


@pytest.fixture
def of_imagenet(place) -> list[str]:
    """Return the option for a plugin with weights of a data set that nobody has registered."""
    shipped = Path(__file__).parents[2] / "plugins" / "zoo_plugins" / "weights" / "tinyvgg-fashionmnist.safetensors"
    (place / "pack").mkdir(exist_ok=True)
    (place / "pack" / "w.safetensors").write_bytes(shipped.read_bytes())
    (place / "pack" / "registry.toml").write_text(
        "schema = 1\n[weights.mine]\nmodel = 'tinyvgg'\ndataset = 'imagenet'\nfile = 'w.safetensors'\n"
        "[weights.other]\nmodel = 'tinyvgg'\ndataset = 'theirs/places'\nfile = 'w.safetensors'\n"
    )
    return ["--plugin", "pack/registry.toml"]


@pytest.mark.parametrize("command", ["show REF", "verify REF", "predict REF x.png"])
@pytest.mark.parametrize(
    "reference", ["tinyvgg@imagenet", "tinyvgg@pack/imagenet", "tinyvgg@theirs/places", "tinyvgg@places", "mine"]
)
def test_weights_of_a_data_set_that_is_not_registered(capsys, of_imagenet, command, reference):
    assert main([*command.replace("REF", reference).split(), *of_imagenet]) == 0
    assert capsys.readouterr().out


def test_only_what_needs_that_data_set_says_so(capsys, of_imagenet):
    assert main(["evaluate", "tinyvgg@imagenet", "--dataset", "imagenet", *of_imagenet]) == 2
    meant = "Did you mean 'torchvision/imagenet'?"
    assert capsys.readouterr().err == f"Error: no dataset named 'imagenet'. {meant} {OWN}\n"
    assert main(["show", "baseline@imagenet", *of_imagenet]) == 2
    assert capsys.readouterr().err == "Error: no dataset named 'imagenet'. Did you mean 'torchvision/imagenet'?\n"
