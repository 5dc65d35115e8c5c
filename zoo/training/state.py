"""State: all that a training is between two steps, as tensors and plain data, and a trainer that becomes it again."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.models.device import read_generators, set_generators
from zoo.models.state import as_state_dict, copy_form, copy_state, copy_tensors
from zoo.training.schedules import count_steps

if TYPE_CHECKING:
    from zoo.models.state import Pair
    from zoo.training.trainer import Trainer


def read_state(
    trainer: Trainer, former: Mapping[str, Any] | None = None, copier: Executor | None = None
) -> dict[str, Any]:
    """Return copies of tensors, on the CPU, and plain data; `former` is a state whose memory may be used again.

    In the middle of an epoch whose batches are replayed a thread of `copier` copies what nothing but the next update
    writes into: it is there when `step.copying` is done, for which that update waits.

    A Trainer of the same model and settings that loads it goes on with the same bits. What the choice of the best epoch
    knows follows from the history. An evaluation that was begun starts again.

    Raises:
        UsageError: the training has not begun, or gradients wait for those of further batches.
    """
    step, losses = trainer.step, trainer.losses
    if step is None or not trainer.is_between_steps:
        raise UsageError("the training has no state", "it has not begun, or is in the middle of a step")
    parts = {"model": trainer.model, **step.list_parts()}
    # At the end of an epoch without a choice the snapshot is the model as it is.
    needed = trainer.choice is not None or losses.batches > 0
    is_over = len(trainer.history) == trainer.config.epochs
    state = {
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "batches": trainer.batches,
        "skipped": step.skipped,
        "history": trainer.history,
        "losses": losses.state() if losses.batches else None,
        "snapshot": trainer.snapshot.state if needed else None,
        "stuck": trainer.watch.stuck,
        # Those of the last evaluation of all, which is not made again.
        "outcomes": vars(trainer.outcomes) if trainer.outcomes is not None and is_over else None,
        "generators": trainer.generators or read_generators(),
    }
    # In an evaluation torch makes tensors that nothing may be written into again.
    with torch.inference_mode(mode=False):
        pairs: list[Pair] = []
        copied: dict[str, Any] = copy_form(state, former, pairs)
        trains = losses.batches > 0 and trainer.generators is None
        if copier is not None and trains and step.is_replayed and trainer.device.type == "cpu":
            # Of tensors the batches themselves change the model's buffers alone.
            buffers = {_locate(buffer) for buffer in trainer.model.buffers()}
            late = [pair for pair in pairs if _locate(pair[1]) not in buffers]
            pairs = [pair for pair in pairs if _locate(pair[1]) in buffers]
            step.copying = copier.submit(copy_tensors, late)
        copy_tensors(pairs)
    return copied


def _locate(tensor: Tensor) -> int:
    """Return where the memory begins that a tensor is a part of."""
    return tensor.untyped_storage().data_ptr()


def load_state(trainer: Trainer, state: Mapping[str, Any], *, refit: bool = False) -> None:
    """Let a trainer become what `read_state` returned, also after a file that held it.

    With `refit` the trainer's own settings may be others: its rates, and all else that they ask of the optimizer, are
    those that they give at this place of the training.

    The random generators of the process are set too, so nothing may draw from them between this and `fit`. Of several
    ranks each has its own again where there are as many as there were, and else the first one alone.

    Raises:
        UsageError: it is of a training with other settings.
    """
    state = {name: copy_state(value) for name, value in state.items()}
    step = trainer.prepare(state["batches"])
    left_out = {"schedule"} if refit else set()
    parts = {"model": trainer.model, **step.list_parts()}
    if different := (parts.keys() ^ state["parts"].keys()) - left_out:
        raise UsageError("the state is of other settings", f"only one has {', '.join(sorted(different))}")
    groups = [{key: value for key, value in group.items() if key != "params"} for group in step.optimizer.param_groups]
    for name, part in parts.items():
        if name not in left_out:
            found = state["parts"][name]
            part.load_state_dict(as_state_dict(found, part) if isinstance(part, nn.Module) else found)
    trainer.history, trainer.watch.stuck, step.skipped = state["history"], state["stuck"], state["skipped"]
    if state["losses"] is not None:
        trainer.losses.load_state(state["losses"])
    if refit:
        for group, own in zip(step.optimizer.param_groups, groups, strict=True):
            group.update(own)
        if step.schedule is not None:
            rest = trainer.losses.batches // trainer.config.accumulate
            step.schedule.catch_up(trainer.history, count_steps(trainer.config, trainer.batches), rest)
    if state["snapshot"] is None:
        trainer.snapshot.take(trainer.evaluated)
    else:
        trainer.snapshot.state = state["snapshot"]
    if trainer.outcomes is not None and state.get("outcomes") is not None:
        vars(trainer.outcomes).update(state["outcomes"])
    _set_generators(trainer, state)


def _set_generators(trainer: Trainer, state: Mapping[str, Any]) -> None:
    set_generators(state["generators"])
    group, others = trainer.group, state.get("others", ())
    if group is None or group.ranks.is_first:
        return
    if len(others) == group.ranks.count - 1:
        set_generators(unpack(others[group.ranks.index - 1]))
    else:
        group.draw_apart(trainer.config.seed + len(trainer.history) * trainer.batches + trainer.losses.batches)


def pack(generators: Mapping[str, Any]) -> dict[str, Any]:
    """Return states of random generators as plain data."""
    plain = {name: value for name, value in generators.items() if name in ("python", "numpy")}
    return {**plain, "torch": generators["torch"].tolist(), "cuda": [each.tolist() for each in generators["cuda"]]}


def unpack(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `pack` was given."""
    devices = [torch.tensor(each, dtype=torch.uint8) for each in plain["cuda"]]
    return {**plain, "torch": torch.tensor(plain["torch"], dtype=torch.uint8), "cuda": devices}
