"""Checks of weights that a plugin ships or points to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zoo.checks.base import Check, Fault, Untried
from zoo.errors import DownloadError, PluginError, ZooError
from zoo.models.registered import resolve_file
from zoo.models.verification import verify
from zoo.registry.entries import Entry, Registry
from zoo.registry.specs import WeightsSpec


@dataclass
class WeightsSubject:
    """Weights to check: their entry, and the registry that has their model."""

    entry: Entry[WeightsSpec]
    registry: Registry
    offline: bool = False


def check_proof(subject: WeightsSubject) -> str:
    """The file is whole, belongs to a model that is here, and gives its golden samples' predictions back.

    Weights without that proof may be those of another version of the model, or of another order of classes, and predict
    something all the same.
    """
    loads = bool(subject.entry.spec.loader)
    fix = "Save them anew with zoo run or zoo.save, with the model of this plugin"
    if loads:
        fix = "Let the loader give what the model takes; see PretrainedWeights in docs/reference/contract.md"
    try:
        # A loader is asked for what its library has here: what it would fetch may be gigabytes.
        path = resolve_file(subject.entry, subject.registry, offline=subject.offline or loads)
        checks = verify(path, registry=subject.registry).checks
    except DownloadError as error:
        raise Untried(f"the file is not here and cannot be fetched: {error}") from error
    except PluginError as error:
        raise Fault(str(error), fix if loads else "Ship the file in the package, with its model") from error
    except ZooError as error:
        raise Fault(str(error), fix) from error
    if "golden" not in checks["golden samples"] and "replayed" in checks["golden samples"]:
        return checks["golden samples"]
    raise Fault(checks["golden samples"], fix, status="warning")


WEIGHTS_CHECKS: Mapping[str, Check[WeightsSubject]] = {"proof": check_proof}
"""The checks of weights."""
