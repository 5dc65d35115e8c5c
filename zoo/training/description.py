"""Description: what the record of a run says before its first step, and of the epochs so far."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict
from datetime import datetime
from typing import Any

import torch

from zoo.data.splits import count_samples
from zoo.models.device import describe_device
from zoo.records.origins import DatasetOrigin, RecipeOrigin
from zoo.records.process import describe_process
from zoo.records.run_folder import RUNNING
from zoo.records.runs import RunRecord
from zoo.registry.origin import find_origin
from zoo.training.request import Request
from zoo.training.schedules import count_steps
from zoo.training.setup import Preparation
from zoo.training.trainer import Trainer
from zoo.version import __version__


def describe_progress(trainer: Trainer) -> dict[str, Any]:
    """Return what a record says of the epochs so far: the scores on the test split, or the best ones on validation."""
    if not trainer.history:
        return {}
    choice = trainer.choice
    if choice is None:
        return {"metrics": trainer.history[-1]["test"]}
    best = {"epoch": choice.epoch, "monitor": choice.monitor, "value": choice.value}
    return {"validation": trainer.history[choice.epoch - 1]["validation"], "best": best}


def describe_run(request: Request, ready: Preparation) -> RunRecord:
    """Return what is known of a run before its first step."""
    plan, pretrained = request.plan, request.pretrained
    followed = plan.recipe
    return RunRecord(
        recipe=RecipeOrigin(name=followed.name, plugin=find_origin(followed), changed=plan.changed)
        if followed
        else None,
        init=pretrained.origin if pretrained else None,
        transfer=asdict(ready.transfer) if ready.transfer else None,
        frozen=request.frozen,
        status=RUNNING,
        process=describe_process(),
        started=datetime.now().astimezone().isoformat(timespec="milliseconds"),
        model=plan.model.name,
        plugin=find_origin(plan.model),
        params=plan.params,
        dataset=DatasetOrigin(
            name=plan.dataset.name,
            plugin=find_origin(plan.dataset),
            params=plan.dataset_params,
            digest=ready.digest,
            samples={name: count_samples(split) for name, split in ready.splits.items()},
        ),
        metric_plugins={name: find_origin(entry) for name, entry in plan.metrics.items()},
        metric_params=plan.metric_params,
        loss_plugin=find_origin(plan.loss) if plan.loss else None,
        train_config={**asdict(plan.config), "memory_format": ready.memory_format},
        adapted=tuple(ready.adapted),
        seed=plan.config.seed,
        device=str(plan.device),
        device_name=describe_device(plan.device),
        threads=ready.threads,
        steps=count_steps(plan.config, len(ready.train)),
        parameters=sum(parameter.numel() for parameter in ready.model.parameters()),
        versions=find_versions(ready.model),
    )


def find_versions(model: torch.nn.Module) -> dict[str, str]:
    """Return the versions of what made the model, also of the package that has its code: a library behind a plugin."""
    versions = {"zoo": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
    package = type(model).__module__.partition(".")[0]
    version = getattr(sys.modules.get(package), "__version__", None)
    return {package: version, **versions} if isinstance(version, str) else versions
