"""Distributed: a plan as each of several ranks has it, and the group in which they carry it out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from zoo.data.ranks import Ranks, find_ranks
from zoo.errors import DeviceError, DivergedError, SettingError, UsageError, ZooError
from zoo.training.group import PATIENCE, Group, HangingError
from zoo.training.plan import Plan

log = logging.getLogger("zoo")


def settle(plan: Plan, *, trains: bool = True) -> Plan:
    """Return a plan with the ranks that there are, and the device of this one; `trains` says whether they are to train.

    Raises:
        UsageError: other ranks were asked for, or a batch is too small for them.
        DeviceError: they cannot train there.
    """
    ranks, asked, device = find_ranks(), plan.config.processes, plan.device
    if asked not in (None, ranks.count):
        there = f"this is one of {ranks.count}" if ranks.are_several else "this process is alone"
        fix = f"Let torchrun start {asked} processes; the command line starts them itself"
        raise UsageError(f"processes={asked} were asked for", there, fix)
    config = replace(plan.config, processes=ranks.count)
    if ranks.are_several:
        if trains and config.batch_size < ranks.count:
            expected = f"must be at least {ranks.count}, one sample for each rank"
            raise SettingError("batch_size", expected, config.batch_size)
        device = _place(device, ranks)
    if config.sync_batchnorm and device.type != "cuda":
        raise SettingError("sync_batchnorm", f"is for CUDA devices, and this training is on {device.type}")
    return replace(plan, config=config, ranks=ranks, device=device)


def _place(device: torch.device, ranks: Ranks) -> torch.device:
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise DeviceError(str(device), "several ranks train on cpu or cuda", "Use device='cpu', or one process")
    if device.index is not None:
        raise DeviceError(str(device), f"{ranks.count} ranks take a device each", "Use device='cuda'")
    if ranks.local >= torch.cuda.device_count():
        why = f"rank {ranks.index} needs one of its own, and there are {torch.cuda.device_count()}"
        raise DeviceError(str(device), why, "Use fewer processes")
    torch.cuda.set_device(ranks.local)
    return torch.device("cuda", ranks.local)


def share_model(model: nn.Module, plan: Plan, group: Group | None) -> nn.Module:
    """Return a model as several ranks train it; say what makes that another training than that of one process."""
    if group is None:
        return model
    if plan.config.sync_batchnorm:  # the names of the state dict stay
        # In the group of the process: layers that have one of their own cannot be copied, as an average of them is.
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    told, layers = [], [each for each in model.modules() if not isinstance(each, nn.SyncBatchNorm)]
    if any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in layers):
        told.append("batch normalisation is over each rank's part of a batch, and its running values are rank 0's")
    if any(isinstance(each, nn.modules.dropout._DropoutNd) for each in layers):
        told.append("dropout draws in each rank for itself")
    if told:
        log.info("%d ranks train otherwise than one process: %s", plan.ranks.count, "; ".join(told))
    return model


@contextmanager
def together(plan: Plan, patience: float | None = None) -> Iterator[Group | None]:
    """Run the body with the other ranks of a plan, None where there are none; errors name the rank.

    All but the first rank are silent.
    """
    ranks = plan.ranks
    if not ranks.are_several:
        yield None
        return

    def is_heard(record: logging.LogRecord) -> bool:
        return ranks.is_first

    log.addFilter(is_heard)
    try:
        group = Group(ranks, plan.device, PATIENCE if patience is None else patience)
        yield group
        group.close()
    except (UsageError, DivergedError, HangingError):  # as any rank has it
        raise
    except ZooError as error:
        error.what = f"rank {ranks.index}: {error.what}"
        raise
    except Exception as error:
        error.add_note(f"It came up in rank {ranks.index}")
        raise
    finally:
        log.removeFilter(is_heard)
