"""Preview: what a run would do, where each value comes from, and what it takes, as `zoo run --dry-run` prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from zoo.checks.combination.estimates import estimate
from zoo.checks.combination.subject import make_subject
from zoo.display import make_table, say
from zoo.errors import DownloadError, UsageError
from zoo.models.device import use_seed, use_threads
from zoo.records.config import read_config, write_config
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.keywords import Settings
from zoo.registry.places import open_places
from zoo.registry.plugins import FIRST_PARTY
from zoo.registry.settings import keep_fitting, list_settings
from zoo.training.blame import blame_plugin
from zoo.training.plan import Wanted
from zoo.training.recipes import check_expected
from zoo.training.request import Request, make_request
from zoo.training.seeds import read_count
from zoo.training.sources import gather

GIVEN, DEFAULT, WEIGHTS = "given", "default", "weights"
"""Where a value comes from: the arguments, nowhere, or the weights that a model starts from."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Preview:
    """What a run would do.

    Fields:
        values: What `docs/reference/config.md` says of a run, all of it; None is a setting that is off.
        sources: Where each of them comes from, in tables of the same form: `given`, `config`, `recipe NAME`,
            `recommended by MODEL`, `weights` or `default`.
        estimates: What the training takes, as `Diagnosis` has it; empty where the data are not here.
        data: Which data were looked at for that, or why there are none, in words.
    """

    values: dict[str, Any]
    sources: dict[str, Any]
    estimates: dict[str, float]
    data: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)

    def to_config(self, given: str = GIVEN, more: Sequence[str] = ()) -> str:
        """Return the config file that gives the same run, with where each value comes from behind it.

        `given` is what the arguments are called, `more` are lines of comments for the end.
        """
        comments, settings = _name_given(self.sources, given), self.values["train"]
        train = {name: _explain(name, settings[name], source) for name, source in comments["train"].items()}
        return write_config(self.values, {**comments, "train": train}, more)

    def __repr__(self) -> str:
        return say("Preview", f"{self.values['model']} on {self.values['dataset']}", self.data)

    def _repr_html_(self) -> str:
        rows = [(name, value, self.sources["train"][name]) for name, value in self.values["train"].items()]
        return make_table(rows, ("setting", "value", "source"), caption=repr(self), most=100)


@checked
def dry_run(
    model: str | None = None,
    dataset: str | None = None,
    *,
    config: str | Path | None = None,
    recipe: str | None = None,
    expect: bool = False,
    seeds: int | str | None = None,
    init: str | Path | None = None,
    freeze: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    params: Mapping[str, Any] | None = None,
    dataset_params: Mapping[str, Any] | None = None,
    metric_params: Mapping[str, Mapping[str, Any]] | None = None,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
    course_style: bool = False,
    log: str | Sequence[str] | None = None,
    log_params: Mapping[str, Mapping[str, Any]] | None = None,
    **settings: Unpack[Settings],
) -> Preview:
    """Return what `run` would do with these arguments; nothing is trained, fetched or written.

    For the estimates the model is built and takes a few steps, with training samples where the files of the data set
    are here, else with random inputs of its declared shape.

    Raises:
        ZooError: what `run` would raise before its first step, as far as that can be known without the data.
    """
    places = open_places(registry, plugins, data_dir=data_dir, runs_dir=runs_dir, offline=offline)
    given = Wanted(
        model=model,
        dataset=dataset,
        init=init,
        freeze=[freeze] if isinstance(freeze, str) else freeze,
        metrics=metrics,
        params=params,
        dataset_params=dataset_params,
        metric_params=metric_params,
        settings=settings,
        course_style=course_style,
        log=log,
        log_params=log_params,
    )
    wanted, places = gather(given, places, config, recipe)
    request = make_request(wanted, places)
    if expect:
        check_expected(request.plan)
    plan = request.plan
    values, sources = describe_request(request, wanted)
    if plan.recipe is not None:
        sources["recipe"] = "config" if recipe is None else GIVEN
    asked = read_config(config).seeds if seeds is None and config is not None else seeds
    if asked is not None:
        values["seeds"], sources["seeds"] = read_count(asked), "config" if seeds is None else GIVEN
    given_files = [one for one in places.registry.plugins if not one.installed and one.name != FIRST_PARTY]
    if files := [str(plugin.source) for plugin in given_files if isinstance(plugin.source, Path)]:
        values["plugins"] = files
    estimates, data = estimate_request(request)
    return Preview(values=values, sources=sources, estimates=estimates, data=data)


def estimate_request(request: Request) -> tuple[dict[str, float], str]:
    """Return what a training takes, nothing where the data are not here, and which data were looked at, in words."""
    plan = request.plan
    with use_seed(plan.config.seed), use_threads(plan.config.threads), blame_plugin(plan.model, plan.dataset.name):
        try:
            subject = make_subject(plan, request.places.data_dir)
        except UsageError as error:
            if not isinstance(error.__cause__, DownloadError):
                raise
            return {}, f"no estimates: {error.what}"
        return estimate(subject), subject.source


def describe_request(request: Request, wanted: Wanted) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of a config file that asks for the same, and where each comes from."""
    plan, init = request.plan, request.pretrained is not None
    names: dict[str, Any] = {
        "recipe": plan.recipe.short_name if plan.recipe else None,
        "model": plan.model.short_name,
        "dataset": plan.dataset.short_name,
        "init": _settle_init(request, wanted),
        "freeze": list(request.frozen) if request.frozen or init else None,
        "metrics": list(plan.metrics),
        "log": list(plan.loggers) or None,
        "course_style": plan.course_style or None,
    }
    values = {key: value for key, value in names.items() if value is not None}
    told: dict[str, Any] = {key: _find_source(wanted, key) or (WEIGHTS if init else DEFAULT) for key in values}
    for key, table, open_ in (
        ("params", plan.params, wanted.model is None),
        ("dataset_params", plan.dataset_params, init and not wanted.dataset_params),
    ):
        otherwise = WEIGHTS if open_ else DEFAULT
        values[key], told[key] = table, {name: _find_source(wanted, key, name) or otherwise for name in table}
    for key, tables in (("metric_params", plan.metric_params), ("log_params", plan.logger_params)):
        values[key], told[key] = tables, {}
        for name, table in tables.items():
            told[key][name] = {param: _find_source(wanted, key, name, param) or DEFAULT for param in table}
    values["train"], told["train"] = asdict(plan.config), _find_settings(request, wanted)
    return values, told


def _settle_init(request: Request, wanted: Wanted) -> str | None:
    """Return a reference that goes on meaning the weights: `@last` is another file after the next run."""
    if request.pretrained is None:
        return None
    path, asked = request.pretrained.path.absolute(), str(wanted.init)
    is_name = not Path(asked).expanduser().exists() and not path.is_relative_to(request.places.runs_dir.absolute())
    return asked if is_name else str(path)


def _find_source(wanted: Wanted, *keys: str) -> str:
    """Return the strongest source that says something of what the keys lead to, "" for none."""
    for source in reversed(wanted.sources):
        value: Any = vars(source)
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None and value is not False:
            return source.source
    return ""


def _find_settings(request: Request, wanted: Wanted) -> dict[str, str]:
    """Return where each setting comes from."""
    recommended = f"recommended by {request.plan.model.short_name}"
    names = [recommended, *(source.source for source in wanted.sources)]
    kept = keep_fitting([request.plan.model.spec.train, *wanted.levels])
    found = dict.fromkeys(asdict(request.plan.config), DEFAULT)
    for name, settings in zip(names, kept, strict=True):
        found |= dict.fromkeys(settings, name)
    return found


def _name_given(sources: Any, given: str) -> Any:
    if isinstance(sources, Mapping):
        return {name: _name_given(source, given) for name, source in sources.items()}
    return given if sources == GIVEN else sources


def _explain(name: str, value: Any, source: str) -> str:
    """Return the comment on a setting; of one that is off what that means."""
    off = list_settings()[name].shown_default if value is None else ""
    return f"{off}; {source}" if off else source
