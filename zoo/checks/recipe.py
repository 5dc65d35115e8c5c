"""Checks of recipes that a plugin provides: that they can be followed, and what they expect be measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zoo.checks.base import Check, Fault
from zoo.errors import DeviceError, UnknownNameError, ZooError
from zoo.registry.entries import Entry, Registry
from zoo.registry.specs import RecipeSpec
from zoo.training.plan import Plan, make_plan
from zoo.training.sources import combine, read_recipe


@dataclass
class RecipeSubject:
    """A recipe to check: its entry, and the registry that has what it names."""

    entry: Entry[RecipeSpec]
    registry: Registry

    def plan(self) -> Plan:
        """Return what a run of it would do; raise ZooError as that run would."""
        source = read_recipe(self.entry, self.registry)
        return make_plan(combine([source], self.registry, self.entry), self.registry)


def check_plan(subject: RecipeSubject) -> str:
    """What it names is there, its params and settings are known, and they go together.

    Who follows a recipe has typed nothing but its name, and can mend nothing.
    """
    try:
        plan = subject.plan()
    except DeviceError as error:
        raise Fault(str(error), "Leave the device out, so that others can follow it", status="warning") from error
    except UnknownNameError as error:
        raise Fault(str(error), "Name what this plugin or zoo provides, or require the package that does") from error
    except ZooError as error:
        raise Fault(str(error), "Mend the recipe; zoo show NAME prints it") from error
    return f"{plan.model.short_name} on {plan.dataset.short_name}, {plan.config.epochs} epochs"


def check_expected(subject: RecipeSubject) -> str:
    """What it expects are scores of its run: the loss, and its metrics.

    A score that the run does not have can never be come to.
    """
    spec = subject.entry.spec
    known = ("loss", *spec.metrics)
    unknown = [name for name in spec.expect if not any(f"{name}.".startswith(f"{one}.") for one in known)]
    if unknown:
        raise Fault(f"expect: {', '.join(unknown)} of {', '.join(known)}", "Add the metric to metrics, or take it out")
    if spec.expect and "seed" not in spec.train:
        raise Fault("it expects scores and names no seed", "Add seed to train, the one they were measured with")
    return ", ".join(f"{name} {value:g}" for name, value in spec.expect.items()) or "it expects no scores"


RECIPE_CHECKS: Mapping[str, Check[RecipeSubject]] = {"plan": check_plan, "expected": check_expected}
"""The checks of a recipe."""
