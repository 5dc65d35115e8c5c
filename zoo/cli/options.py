"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zoo.cli.output import keep_stdout
from zoo.errors import SettingError, UsageError

if TYPE_CHECKING:
    from zoo.registry.entries import Registry

F = TypeVar("F", bound=Callable[..., Any])
Discover = Callable[[], "Registry"]


def plugin_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--plugin` and `--no-plugin`; the command gets `discover`, which makes the registry that they describe."""

    @click.option(
        "--plugin", "plugins", multiple=True, metavar="PATH", help="Use a plugin file: a .py or a registry.toml."
    )
    @click.option(
        "--no-plugin", "disabled", multiple=True, metavar="NAME", help="Leave a plugin out; 'all' means all installed."
    )
    @wraps(command)
    def run(*, plugins: Sequence[str], disabled: Sequence[str], **options: Any) -> None:
        def discover() -> Registry:
            from zoo.registry.entries import Registry

            registry = Registry.discover(plugins, disabled)
            if config := options.get("config"):
                from zoo.records.config import read_config

                registry = registry.including(read_config(config).plugins)
            return registry

        command(discover=discover, **options)

    return run


def setting_options(command: F, hidden: Sequence[str] = ()) -> F:
    """Add an option for each setting of a training, as `zoo.registry.settings` declares it.

    The `hidden` ones are read, for whoever tries them is told why not, and are on no help page.
    """
    # Most commands have no settings and need not wait for them.
    from zoo.registry.settings import find_form, list_settings, name_option

    for name, declared in reversed(list_settings().items()):
        option, form = name_option(name), find_form(name)
        if form is bool:
            text = f"{declared.help}  [{'yes' if declared.shown_default == 'True' else 'no'}]"
            flags = f"{option}/{name_option(name, on=False)}"
            add = click.option(flags, name, default=None, help=text, hidden=name in hidden)
        elif form is dict:
            add = click.option(option, name, multiple=True, metavar="K=V", help=declared.help, callback=_read_table)
        else:
            text = f"{declared.help}  [{declared.shown_default}]"
            add = click.option(option, name, metavar=declared.metavar, help=text, hidden=name in hidden)
        command = add(command)
    return command


def study_setting_options(command: F) -> F:
    """Add the settings of a training of which there are many: each is one process."""
    return setting_options(command, ("processes", "sync_batchnorm"))


def _read_table(_: click.Context, parameter: click.Parameter, pairs: Sequence[str]) -> dict[str, str] | None:
    return read_params(parameter.opts[0], pairs) or None


def dataset_option(command: F) -> F:
    """Add `--dataset`, which narrows results to those on one data set or several."""
    text = "Only results on this data set; repeatable."
    return click.option("--dataset", multiple=True, metavar="NAME", help=text)(command)


PARAMS = {
    "model": ("--param", "params", "K=V", "A param of the model; repeatable."),
    "dataset": ("--dataset-param", "dataset_params", "K=V", "A param of the data set."),
    "metric": ("--metric-param", "metric_params", "METRIC.K=V", "A param of a metric."),
    "logger": ("--log-param", "log_params", "LOGGER.K=V", "A param of a logger."),
}
OWNERS = {"--param": "MODEL", "--dataset-param": "DATASET", "--metric-param": "METRIC", "--log-param": "LOGGER"}
"""What stands before the dot of a param, where a command has params of several."""
PLACES: dict[str, tuple[str, dict[str, Any], str]] = {
    "data_dir": ("--data-dir", {"metavar": "DIR"}, "Folder of the data sets.  [ZOO_DATA_DIR, or one in ZOO_HOME]"),
    "runs_dir": ("--runs-dir", {"metavar": "DIR"}, "Folder of the runs.  [ZOO_RUNS_DIR, or ./runs]"),
    "offline": ("--offline", {"is_flag": True, "default": None}, "Never use the network. [ZOO_OFFLINE]"),
}


def param_options(*kinds: str) -> Callable[[F], F]:
    """Add the options for params of these kinds, which arrive as dicts: of models, data sets and metrics by default."""

    def add(command: F) -> F:
        for kind in reversed(kinds or ("model", "dataset", "metric")):
            option, name, metavar, text = PARAMS[kind]
            command = click.option(option, name, multiple=True, metavar=metavar, help=text, callback=_read)(command)
        return command

    def _read(_: click.Context, parameter: click.Parameter, pairs: Sequence[str]) -> dict[str, Any]:
        read = read_params_by_name if parameter.name in ("metric_params", "log_params") else read_params
        return read(parameter.opts[0], pairs)

    return add


def place_options(*names: str) -> Callable[[F], F]:
    """Add the options that say where data and runs lie and whether the network may be used, all where none is named."""

    def add(command: F) -> F:
        for name in reversed(names or tuple(PLACES)):
            option, form, text = PLACES[name]
            command = click.option(option, name, help=text, **form)(command)
        return command

    return add


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--json` and `--debug`. Errors look at both too, see `zoo.cli.main`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(debug_option(command))


def debug_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--debug`, which `zoo.cli.main` reads from the arguments: no command gets it.

    Every command has it, so this is also where a command gets stdout for its results alone.
    """
    text = "Show the traceback of an error. [ZOO_DEBUG]"

    @click.option("--debug", is_flag=True, expose_value=False, help=text)
    @wraps(command)
    def run(**options: Any) -> None:
        _refuse_empty_options(click.get_current_context())
        with keep_stdout():
            command(**options)

    return run


def _refuse_empty_options(ctx: click.Context) -> None:
    """Refuse an option whose value is an empty text: it comes from a variable that is not set, and is no default."""
    for option in ctx.command.params:
        value = ctx.params.get(str(option.name))
        if isinstance(option, click.Option) and option.default != "" and value in ("", ("",)):
            fix = "Give a value, or leave it out; a variable of the shell that is not set gives this"
            raise UsageError(f"{option.opts[-1]} is empty", fix=fix)


def metric_option(command: F) -> F:
    """Add `--metric`."""
    text = "A metric; repeatable.  [accuracy]"

    def read(_: click.Context, __: click.Parameter, names: Sequence[str]) -> Sequence[str] | None:
        return names or None

    return click.option("--metric", "metrics", multiple=True, metavar="NAME", help=text, callback=read)(command)


def source_options(command: F) -> F:
    """Add `--config` and `--recipe`, which say what is not given."""
    told = "A TOML file with what is not given: names, params, settings."
    command = click.option("--recipe", metavar="NAME", help="A training to repeat: zoo list recipes.")(command)
    return click.option("--config", metavar="FILE", help=told)(command)


def pace_options(command: F) -> F:
    """Add how often a training is saved and how long it may take."""
    told = "Save a checkpoint every 10m, '500 steps' or '2 epochs'.  [a minute or more]"
    most = "Stop after 90s, 10m or 1h, so that zoo resume can go on."
    waits = "With several processes: how long they wait for one that does not answer.  [10m]"
    command = click.option("--rank-timeout", metavar="TIME", help=waits)(command)
    command = click.option("--max-time", metavar="TIME", help=most)(command)
    return click.option("--checkpoint-every", metavar="SPAN", help=told)(command)


def speed_options(command: F) -> F:
    """Add `--threads` and `--memory-format`, the settings of a training that a prediction has too."""
    layout = "How the values of images and kernels lie: contiguous, channels_last, or auto, by the layers.  [auto]"
    threads = "CPU threads; auto: all for what is worth it, else one.  [auto]"
    command = click.option("--memory-format", metavar="NAME", help=layout)(command)
    return click.option("--threads", metavar="N", help=threads)(command)


def read_params(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """Return `K=V` texts as a dict; raise SettingError for one without a name or `=`."""
    params = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise SettingError(option, "expected NAME=VALUE", pair)
        params[name] = value
    return params


def read_params_by_name(option: str, pairs: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return `OWNER.K=V` texts, `METRIC.K=V` say, as a dict of dicts; raise SettingError for one of another form."""
    params: dict[str, dict[str, str]] = {}
    for name, value in read_params(option, pairs).items():
        owner, dot, param = name.rpartition(".")
        if not dot or not owner or not param:
            raise SettingError(option, f"expected {OWNERS[option]}.NAME=VALUE", f"{name}={value}")
        params.setdefault(owner, {})[param] = value
    return params


def read_number(option: str, text: str) -> int:
    """Return the whole number that a text means; raise SettingError for another text."""
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise SettingError(option, "expected a whole number", text)
    return int(text)


def read_grid(text: str) -> tuple[int, int]:
    """Return `ROWSxCOLUMNS` as two numbers; raise SettingError for another text, for no cells and for too many."""
    from zoo.results.plots.style import check_grid

    rows, _, columns = text.lower().partition("x")
    if not (rows.isdecimal() and columns.isdecimal()):
        raise SettingError("--grid", "expected ROWSxCOLUMNS, as 3x3", text)
    grid = int(rows), int(columns)
    check_grid(grid)
    return grid
