"""Recipes: what a run has changed of the one that it follows, and whether it came to the scores that are expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import isclose
from typing import Any

from zoo.errors import UsageError, quote
from zoo.records.scores import EXACT, OFF, WITHIN, ExpectedScore
from zoo.registry.settings import resolve_config
from zoo.registry.specs import RecipeSpec
from zoo.training.optimizers import check_optimizer
from zoo.training.plan import Plan, canonise, read_params

PLACES = ("train.device", "train.threads", "train.workers")
"""Settings that say where a training runs: other ones move the last digits of a score, which a tolerance is for."""
NOISE = 1e-6
"""The relative difference up to which two scores are equal: less than one sample of 10,000, more than sums in another
order make."""


def find_changes(plan: Plan, spec: RecipeSpec, dataset: str) -> list[str]:
    """Return what a plan has otherwise than a recipe, `train.epochs` say; `dataset` is `plugin/name` of the recipe's.

    Raises:
        ZooError: the recipe itself cannot be followed.
    """
    own = check_optimizer(canonise(resolve_config(plan.model.spec.train, spec.train)))
    changed = _differ("train", asdict(own), asdict(plan.config))
    changed += _differ("params", read_params(plan.model, spec.params), plan.params)
    if plan.dataset.qualified_name == dataset:
        changed += _differ("dataset_params", read_params(plan.dataset, spec.dataset_params), plan.dataset_params)
    else:
        changed.append("dataset")
    for name, entry in plan.metrics.items():
        if name in spec.metrics:
            params = read_params(entry, spec.metric_params.get(name))
            changed += _differ(f"metric_params.{name}", params, plan.metric_params[name])
    return changed if {*spec.metrics} <= {*plan.metrics} else [*changed, "metrics"]


def _differ(where: str, recipe: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    return [f"{where}.{name}" for name in {**recipe, **own} if recipe.get(name) != own.get(name)]


def check_expected(plan: Plan) -> None:
    """Refuse to compare the scores of a run that is to come with those of a recipe where that would mean nothing.

    Raises:
        UsageError: there is no recipe, it has no scores, or something was changed of it.
    """
    if plan.recipe is None:
        raise UsageError("nothing is expected of this run", "it follows no recipe", "Give one with recipe=...")
    name = quote(plan.recipe.short_name)
    if not plan.recipe.spec.expect:
        raise UsageError(f"recipe {name} says nothing of its scores", fix="Leave expect=True out")
    changed = [part for part in plan.changed if part not in PLACES]
    if changed:
        what = f"the scores of recipe {name} are not those of this run"
        raise UsageError(what, f"changed: {', '.join(changed)}", "Leave these out, or expect=True")


def compare_expected(plan: Plan, scores: Mapping[str, float]) -> tuple[ExpectedScore, ...]:
    """Return what a recipe expects beside what a run came to."""
    spec = plan.recipe.spec if plan.recipe else None
    found = []
    for name, expected in spec.expect.items() if spec else ():
        got, tolerance = scores.get(name), spec.tolerance.get(name, 0.0) if spec else 0.0
        verdict = OFF
        if got is not None and isclose(got, expected, rel_tol=NOISE):
            verdict = EXACT
        elif got is not None and abs(got - expected) <= tolerance:
            verdict = WITHIN
        found.append(ExpectedScore(name=name, expected=expected, got=got, tolerance=tolerance, verdict=verdict))
    return tuple(found)
