"""Hints: what to type instead of what zoo does not understand. The tables hold the words of other tools."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import click

from zoo.cli.command import list_option_names, name_command
from zoo.cli.commands import COMMANDS, EXAMPLES
from zoo.cli.weights import is_reference
from zoo.errors import DataError, UnknownNameError, WeightsError, ZooError, closest, quote
from zoo.registry.params import ALIASES
from zoo.registry.settings import list_settings

FILES = "Weights are plain safetensors: zoo.load_model(WEIGHTS) or safetensors in a program reads them"
RUNS = "Each run is a folder in runs: zoo show @last, or zoo compare runs/*"
WORDS = {
    "Did you mean 'zoo run'?": "train fit learn training trainer start launch execute go",
    "Did you mean 'zoo run --init WEIGHTS'?": "finetune fine-tune transfer resume continue restart retrain",
    "Did you mean 'zoo run --seeds N'?": "repeat seeds trials",
    "Did you mean 'zoo evaluate'?": "eval test val valid validate validation score metric-values benchmark",
    "Did you mean 'zoo predict'?": "infer inference classify prediction label detect forward",
    "Did you mean 'zoo list'?": "ls all find available catalog catalogue registry",
    "Did you mean 'zoo list models'?": "models model archs",
    "Did you mean 'zoo list datasets'?": "datasets",
    "Did you mean 'zoo list metrics'?": "metrics metric",
    "Did you mean 'zoo list weights'?": "weights checkpoints hub pretrained",
    "Did you mean 'zoo list --search PATTERN'?": "search grep filter",
    "Did you mean 'zoo show NAME'?": "info summary describe inspect details cat print view get model-info layers",
    "Did you mean 'zoo samples DATASET'?": "data dataset sample images preview explore browse",
    "Did you mean 'zoo check'?": "doctor lint sanity sanity-check smoke dry-run dryrun overfit diagnose",
    "Did you mean 'zoo verify WEIGHTS'?": "hash checksum prove digest",
    "Did you mean 'zoo compare WEIGHTS...'?": "diff leaderboard rank ranking stats significance",
    "Did you mean 'zoo report WEIGHTS...'?": "html dashboard page model-card card",
    "Did you mean 'zoo plot'?": "draw visualize visualise visualization figure curves confusion graph chart",
    "Did you mean 'zoo adapt'?": "convert replace-head change-head",
    "Did you mean 'zoo plugin new NAME --kind model'?": "init new create scaffold template generate add register",
    "Did you mean 'zoo completion bash'?": "completions autocomplete install-completion",
    f"{FILES}; zoo show WEIGHTS names the file": "export onnx torchscript trace script save dump quantize compile",
    "zoo has no server; zoo.load(WEIGHTS) in a program of yours gives what answers": "serve server deploy api app",
    "zoo run fetches what it needs; in Python zoo.fetch(DATASET) does that alone": "download fetch pull prefetch",
    "zoo publishes nothing: a run's .safetensors file is all that others need": "push upload publish share login",
    "zoo trains with the settings it is given; zoo run --seeds N repeats, a loop of your shell tries others": (
        "tune sweep hpo optimize optimise search-space grid-search lr-find lr-finder"
    ),
    "zoo keeps no settings of its own: options and ZOO_ variables say everything, see zoo run --help": (
        "config configure configuration settings setup"
    ),
    "A plugin is a package of your environment: pip install it, then zoo plugins lists it": "install add-plugin enable",
    "Uninstall the package of a plugin with pip; a run is a folder that you may delete": (
        "uninstall remove rm delete clean clear prune disable"
    ),
    "zoo is a package of your environment: pip installs a newer one": "update upgrade self-update",
    RUNS: "runs run-list history log logs status jobs ps results experiments last",
}
"""What to say to whoever asks for a command that zoo has not, by the words for it."""
OPTIONS = {
    "--model": "arch architecture net network backbone model-name m",
    "--dataset": "data-set dataset-name task d",
    "--init": "pretrained weights checkpoint ckpt load load-from start-from finetune from",
    "--lr": "learning-rate learningrate alpha eta lr0 base-lr",
    "--epochs": "epoch num-epochs n-epochs max-epochs passes e",
    "--batch-size": "batch bs batchsize b train-batch-size per-device-train-batch-size",
    "--optimizer": "optim opt optimiser",
    "--weight-decay": "wd decay l2 weightdecay",
    "--workers": "num-workers n-workers jobs j dataloader-workers",
    "--threads": "num-threads cpu-threads",
    "--seed": "random-seed rng manual-seed random-state",
    "--seeds": "repeats repeat trials n-seeds",
    "--device": "gpu gpus cuda accelerator use-cuda no-cuda cpu mps use-gpu devices",
    "--data-dir": "data data-path root datadir data-root dataset-dir dataset-path data-folder",
    "--runs-dir": "runs output-dir out-dir save-dir log-dir logdir results-dir project work-dir",
    "--output": "out o save save-to file outfile dest",
    "--metric": "metrics",
    "--param": "params set hidden-units model-args",
    "--input-size": "imgsz img-size image-size img size resize crop-size resolution input-shape",
    "--freeze": "frozen freeze-layers freeze-backbone",
    "--top": "topk top-k k",
    "--num-classes": "classes nc n-classes",
    "--search": "filter grep pattern match query",
    "--layers": "summary verbose-model",
    "--plugin": "plugins module import include",
    "--debug": "traceback trace",
    "zoo -V shows the version; zoo check and zoo plugin test take --verbose, --debug shows the traceback of an error": (
        "v verbose vv vvv"
    ),
    "--json": "format output-format as-json",
    "--split": "subset partition",
    "zoo starts each run anew: zoo run --init @last starts one from the weights of the last run": (
        "resume continue auto-resume last-epoch checkpoint-path"
    ),
    "zoo trains in float32; no option changes that": "amp fp16 bf16 half precision mixed-precision autocast dtype",
    "zoo trains on one device: --device names it": "ddp distributed nproc nodes num-gpus strategy local-rank",
    "zoo keeps the learning rate as it is": "scheduler lr-scheduler warmup cosine step-size lrf sched gamma",
    "zoo trains as many epochs as --epochs says": "early-stopping patience es min-delta max-steps max-time",
    "zoo does not change images at random: a data set plugin may": "augment augmentation transforms transform",
    "A data set says itself what its splits are": "val-split val-size validation-split test-size split-ratio folds",
    "zoo writes run.json and history to each run's folder; zoo report makes a page of them": (
        "wandb tensorboard mlflow logger tb track"
    ),
    "zoo names runs itself; --runs-dir says where": "name run-name tag experiment experiment-name exp",
    "zoo reads no settings file: options and ZOO_ variables say everything": "config cfg c conf yaml hparams",
    "zoo asks no questions and replaces no run": "yes y force f overwrite no-input exist-ok",
    "Training data are shuffled anew in each epoch, as --seed says": "shuffle no-shuffle deterministic",
    "zoo runs models as they are": "compile torch-compile jit channels-last",
    "Look at a training before it with zoo check": "dry-run dryrun fast-dev-run sanity smoke",
    "stdout holds results only; what else is said goes to stderr: 2>/dev/null": "quiet q silent no-progress",
}
"""The options of zoo, and what it has instead of an option, by the names that other tools have for them."""
SUBCOMMANDS = {"plugin": {"zoo plugins": "list ls show all info", "zoo plugin test": "check verify certify validate"}}
OWN_DATA = "Data of your own, a folder of images say, take a plugin of a few lines: zoo plugin new NAME --kind dataset"
IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
PLUGIN_FILES = (".py", ".toml")


def advise_command(word: str, group: str, known: Sequence[str], others: Sequence[str]) -> str:
    """Return what to type instead of a command that zoo, or its group of this name, does not have."""
    if group:
        told = _look_up(word, {f"Did you mean {quote(text)}?": words for text, words in SUBCOMMANDS[group].items()})
        near = closest(word, known)
        return told or (f"Did you mean {quote(f'zoo {group} {near}')}?" if near else f"See: zoo {group} --help")
    if told := _look_up(word, WORDS):
        return told
    if is_weights(word):
        return f"Did you mean {quote(f'zoo show {word}')}?"
    if spelled := spell_words([word], list_option_names(find_command("run"))):
        return f"Did you mean {quote(shlex.join(['zoo', 'run', *spelled, *others]))}?"
    if near := closest(word, known):
        return f"Did you mean {quote(near)}?"
    return "See: zoo -h"


def advise_option(name: str, ctx: click.Context, arguments: Sequence[str]) -> str:
    """Return what to type instead of an option that a command does not have."""
    own, where = list_option_names(ctx.command), name_command(ctx)
    for word in (_clean(find_option(name, arguments)), _clean(name)):
        if f"--{word}" in own:
            return f"Did you mean {quote(f'--{word}')}?"
        meant = _look_up(word, OPTIONS) or f"--{ALIASES.get(word.replace('-', '_'), word)}".replace("_", "-")
        if meant in own:
            return f"Did you mean {quote(meant)}?"
        if " " in meant:
            return meant
        homes = [other for other in COMMANDS if other != where and meant in list_option_names(find_command(other))]
        if homes and not where:
            return f"Options follow their command: {_move_options(arguments, homes)}"
        if near := closest(word, [option.removeprefix("--") for option in own]):
            return f"Did you mean {quote(f'--{near}')}?"
        if homes:
            return f"{meant} is an option of {', '.join(f'zoo {home}' for home in homes[:3])}"
    return f"See: {ctx.command_path} --help"


def find_option(name: str, arguments: Sequence[str]) -> str:
    """Return an unknown option as it was typed: of `-epochs` click sees `-e` alone."""
    if name.startswith("--"):
        return name
    return next((typed.partition("=")[0] for typed in arguments if typed.startswith(name)), name)


def _move_options(arguments: Sequence[str], homes: Sequence[str]) -> str:
    """Return a line whose command, by default the first that has such an option, stands before its options."""
    command = next((word for word in arguments if word in COMMANDS), homes[0])
    return shlex.join(["zoo", command, *(word for word in arguments if word != command)])


def _clean(option: str) -> str:
    return option.lstrip("-").lower().replace("_", "-")


def _look_up(word: str, table: dict[str, str]) -> str | None:
    return next((text for text, words in table.items() if word.lower() in words.split()), None)


def find_command(name: str) -> click.Command:
    """Import a command by its name."""
    from importlib import import_module

    module, _, attribute = COMMANDS[name].partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command


def find_context(group: click.Command, arguments: Sequence[str]) -> click.Context:
    """Return the context of the command that a line begins with, for an error of click that does not name it."""
    ctx = click.Context(group, info_name="zoo")
    for word in arguments:
        found = ctx.command.get_command(ctx, word) if isinstance(ctx.command, click.Group) else None
        if found is None:
            break
        ctx = click.Context(found, parent=ctx, info_name=word)
    return ctx


def advise_call(error: click.ClickException, ctx: click.Context, arguments: Sequence[str]) -> str:
    """Return how a command is called that was called without something, or with too much."""
    command, where = ctx.command, name_command(ctx)
    own = list_option_names(command)
    rest = list(arguments[len(where.split()) :])
    if extra := re.findall(r"unexpected extra arguments? \((.*)\)", error.format_message()):
        words = extra[0].split()
        if where == "plugins":
            return f"Did you mean {quote(shlex.join(['zoo', 'plugin', *rest]))}?"
        if any(map(_is_folder, words)) and "--dataset" in own:
            return OWN_DATA
        if spelled := spell_words(words, own):
            others = [word for word in rest if word not in words]
            return f"Did you mean {quote(shlex.join(['zoo', where, *spelled, *others]))}?"
    given = [word for word in rest if not word.startswith("-")]
    if isinstance(error, click.MissingParameter) and where == "predict" and given and not is_weights(given[0]):
        return f"The weights come first: zoo predict @last {shlex.quote(given[0])}"
    lacks = extra or isinstance(error, click.MissingParameter) or isinstance(command, click.Group)
    example = f"As in: {EXAMPLES[where]}. " if where in EXAMPLES and lacks else ""
    return f"{example}See: {ctx.command_path} --help"


def spell_words(words: Iterable[str], options: Sequence[str]) -> list[str]:
    """Return bare words with the options in front that they lack; nothing where one of them means nothing here."""
    from zoo.registry.entries import Registry

    registry, spelled = Registry.discover(), list[str]()
    for word in words:
        name, equals, value = word.partition("=")
        option = f"--{_clean(name)}"
        if equals:
            found = [(option, value)] if _clean(name).replace("-", "_") in list_settings() else [("--param", word)]
        elif word.endswith(PLUGIN_FILES):
            found = [("--plugin", word)]
        elif is_weights(word):
            found = [("--init", word)]
        else:
            found = [(f"--{kind}", word) for kind in registry.find_kinds(word) if kind != "weights"]
        if not found or found[0][0] not in options:
            return []
        spelled += found[0]
    return spelled


def is_weights(word: str) -> bool:
    """Tell whether a word has the form of a reference to weights."""
    return is_reference(word) and not word.lower().endswith((*IMAGES, *PLUGIN_FILES))


def explain(error: ZooError, arguments: Sequence[str]) -> None:
    """Add to errors what a person at a command line needs who gave one kind of thing for another."""
    command = arguments[0] if arguments else ""
    for problem in error.problems:
        if isinstance(problem, UnknownNameError):
            if told := _advise_kind(problem, command):
                problem.fix = " ".join([told, *problem.notes])
            elif more := _advise_more(problem, arguments):
                kept = "" if problem.fix.startswith("See: ") else problem.fix
                problem.fix = f"{kept}{'' if not kept or kept.endswith(('.', '?')) else '.'} {more}".strip()
        elif isinstance(problem, WeightsError | DataError) and command == "predict":
            images = [word for word in arguments[1:] if word.lower().endswith(IMAGES)]
            later = [word for word in arguments[2:] if is_weights(word)]
            if later and images and arguments[1] == images[0]:
                problem.fix = f"The weights come first: {shlex.join(['zoo', 'predict', later[0], *images])}"


def _advise_kind(error: UnknownNameError, command: str) -> str:
    """Return what to say to whoever gave something else than a name."""
    kind, name = error.kind, error.name
    if not name:
        return "The name is empty: is a variable of the shell not set?"
    if "://" in name:
        return f"zoo reads no {kind} from an address: download it first"
    if name.endswith(PLUGIN_FILES):
        return f"A plugin file is given with --plugin {name}; zoo list --plugin {name} shows the names in it"
    if kind in ("model", "dataset", "metric") and is_weights(name):
        start = f"; to start from them: zoo run --init {name}" if command == "run" else ""
        return f"{name} means weights: zoo show {name}{start}"
    if kind == "dataset" and _is_folder(name):
        return f"A bare folder is no data set. {OWN_DATA}"
    if kind == "entry":
        return _look_up(name, WORDS) or ""
    if kind == "plugin" and name in ("new", "test"):
        return f"Did you mean {quote(f'zoo plugin {name}')}?"
    return f"Did you mean {quote(f'zoo list --search {name}')}?" if kind == "kind" else ""


def _advise_more(error: UnknownNameError, arguments: Sequence[str]) -> str:
    """Return what to say beside the name that may have been meant."""
    if error.elsewhere:
        missing = error.kind == "weights" and error.fix.endswith("registered")
        return f"Train some: zoo run --{error.elsewhere[0]} {error.name}" if missing else ""
    if error.kind == "model":
        return "Those of plugins: zoo list models --search PATTERN" if error.fix.startswith("See: ") else ""
    # The data set of a reference such as tinyvgg@mnist is none to be trained on.
    typed = error.name in arguments or f"--dataset={error.name}" in arguments
    return OWN_DATA if error.kind == "dataset" and typed else ""


def _is_folder(name: str) -> bool:
    with suppress(OSError, RuntimeError, ValueError):
        return name.startswith((".", "/", "~")) or name.endswith("/") or Path(name).expanduser().is_dir()
    return False
