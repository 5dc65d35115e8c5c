"""Request: what a run was asked for, completed from the weights it starts from, all names resolved, nothing loaded."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from zoo.errors import ErrorCollector, SettingError, UsageError, ZooError
from zoo.models.freezing import check_patterns
from zoo.models.pretrained import Pretrained, read_pretrained
from zoo.models.provider import find_model
from zoo.models.references import find_weights
from zoo.registry.entries import Registry
from zoo.registry.places import Places
from zoo.training.plan import Plan, Wanted, make_plan
from zoo.training.recipes import find_changes


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a run was asked for.

    Fields:
        plan: Model, data set, metrics and settings.
        places: The registry, the folders, and whether the network is off limits.
        pretrained: The weights that the model starts from, None for new ones.
        frozen: Shell patterns; parameters with such names are not trained.
        name: What the folder of the run is called, where that is not its time, model and data set.
        tested: Whether the model is scored on the test split. A trial of a sweep is not: only validation may choose.
    """

    plan: Plan
    places: Places
    pretrained: Pretrained | None = None
    frozen: tuple[str, ...] = ()
    name: str = ""
    tested: bool = True


def make_request(wanted: Wanted, places: Places) -> Request:
    """Resolve what is wanted; `init` is a reference to weights, `freeze` defaults to what those have frozen.

    Raises:
        ZooError: every problem found, together, before anything is loaded.
    """
    init, freeze = wanted.init, wanted.freeze
    frozen = tuple(freeze or ())
    pretrained: Pretrained | None = None
    errors = ErrorCollector()
    if init is not None:
        with errors.catch():
            pretrained = read_pretrained(find_weights(init, places))
        if not (wanted.model and wanted.dataset):
            errors.raise_any()  # without the file, the names that it would have given are not known
    with errors.catch():
        if pretrained is not None:
            with errors.catch():
                # A frozen parameter that the file lacks would keep its random values for good.
                check_patterns(frozen, pretrained.tensors)
            wanted = complete(wanted, pretrained, places.registry)
        plan = make_plan(wanted, places.registry)
        if pretrained is not None:
            pretrained.check(plan.model, plan.params)
            if freeze is None and pretrained.is_of(plan.model):
                frozen = pretrained.metadata.frozen
        if plan.config.unfreeze_at is not None and not frozen:
            fix = "Freeze something, freeze='features.*' say"
            raise SettingError("unfreeze_at", "nothing is frozen", plan.config.unfreeze_at, fix)
        if plan.recipe is not None:
            dataset = places.registry.get("dataset", str(wanted.sources[0].dataset)).qualified_name
            changed = find_changes(plan, plan.recipe.spec, dataset)
            changed += [name for name, given in (("init", pretrained), ("freeze", frozen)) if given]
            plan = replace(plan, changed=tuple(changed))
    errors.raise_any()
    return Request(plan=plan, places=places, pretrained=pretrained, frozen=frozen)


def complete(wanted: Wanted, pretrained: Pretrained, registry: Registry) -> Wanted:
    """Return what is wanted, with the model, the data set and their params of the weights where none is named.

    Raises:
        PluginError: the plugin that provides the model of the weights is missing or broken.
        UsageError: no data set is named, not by the weights either.
    """
    metadata, trained = pretrained.metadata, pretrained.metadata.dataset
    if wanted.model is None:
        model = find_model(pretrained.path, metadata, registry).qualified_name
        wanted = replace(wanted, model=model, params={**metadata.params, **(wanted.params or {})})
    if wanted.dataset is None:
        if trained is None:
            raise UsageError(f"{pretrained.path} names no data set", fix="Give one with dataset=...")
        wanted = replace(wanted, dataset=trained.qualified_name)
    with suppress(ZooError):  # make_plan reports an unknown name, together with all other problems
        names = (wanted.dataset, registry.get("dataset", str(wanted.dataset)).qualified_name)
        if trained and not wanted.dataset_params and trained.qualified_name in names:
            wanted = replace(wanted, dataset_params=trained.params)
    return wanted
