"""Group: the ranks of a training, on torch.distributed, and what they tell one another.

Each rank has the whole model and its part of each batch. Whatever is decided, by all at the same step, follows from
what all of them know: the loss of the whole batch, the logits of the whole batch of an evaluation, and what any of them
wishes. So a stop, a checkpoint, the end of a schedule or a number that is not finite find no rank alone.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from zoo.data.ranks import Ranks
from zoo.errors import UsageError, WorkerError, describe, quote

if TYPE_CHECKING:
    from zoo.training.rank_step import Gradients
    from zoo.training.trainer import Trainer

LOOK = timedelta(seconds=1)
"""How long one look for the others takes: between two of them a signal is heard."""
MEETING = timedelta(minutes=1)
"""How long ranks wait for one that is only being started, at least."""
ANSWER = 5.0
"""Seconds in which ranks that waited in vain tell each other so, at most: whoever does not is the one that hangs."""
KINDS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
"""The types that logits may have."""
UNENDING = timedelta(days=1)
"""What gloo is told to wait. Its clock goes on while a program is stopped, so the ranks count by themselves."""
PATIENCE = 600.0
"""Seconds after which a rank that does not answer counts as hanging, where nothing else is asked for."""


@contextmanager
def _naming_place() -> Iterator[None]:
    """Raise UsageError where ranks cannot meet: the host has no address, or the first of them cannot have the port."""
    host, port = (os.environ.get(f"MASTER_{part}", "") for part in ("ADDR", "PORT"))
    try:
        socket.getaddrinfo(host, port)  # torch would ask for it until the time is up
        yield
    except (OSError, ValueError, dist.DistNetworkError) as error:
        fix = "Set MASTER_ADDR and MASTER_PORT to the host of the first rank and to a free port there"
        raise UsageError(f"the ranks cannot meet at {quote(f'{host}:{port}')}", describe(error), fix) from error


def _meet(ranks: Ranks, limit: timedelta) -> None:
    """Make the group of the process, at the place that the variables of torchrun name."""
    store, *_ = next(rendezvous("env://", ranks.index, ranks.count, timeout=limit))
    # torchrun may keep its store when it starts ranks again, and where those before are met would still be in it.
    store = dist.distributed_c10d.PrefixStore(f"zoo-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(store=store, rank=ranks.index, world_size=ranks.count, timeout=limit)


class Group:
    """The ranks of one training.

    `wishes` are what this rank wants all to do, and `granted` what any of them wished when they last exchanged
    something: to stop, to stop because the time is up, and to save a checkpoint.
    """

    def __init__(self, ranks: Ranks, device: torch.device, patience: float = PATIENCE) -> None:
        self.ranks, self.device, self.patience = ranks, device, patience
        self.wishes, self.granted, self.seen = [False] * 3, [False] * 3, 0
        limit = timedelta(seconds=patience)
        meeting = max(limit, MEETING)
        try:
            if not dist.is_initialized():
                with _naming_place():
                    _meet(ranks, meeting)
                atexit.register(_leave)
            control: Any = dist.new_group(backend="gloo", timeout=UNENDING)
            data: Any = control if device.type == "cpu" else dist.new_group(backend="nccl", timeout=2 * limit)
        except dist.DistStoreError as error:
            what = f"not all of {ranks.count} ranks have come within {meeting.total_seconds():g} s"
            fix = "Start all of them with the same MASTER_ADDR and MASTER_PORT, or wait longer with rank_timeout=..."
            raise HangingError(what, describe(error), fix) from error
        except RuntimeError as error:
            raise LostError("another rank has ended", describe(error)) from error
        self.control, self.data = control, data
        store = dist.distributed_c10d._get_default_store()
        self.store = dist.distributed_c10d.PrefixStore(f"zoo-{control.group_name}", store)

    def exchange(
        self, gradients: Gradients, loss: Tensor, weight: float | Tensor, samples: int, *, whole: bool
    ) -> tuple[Tensor, Tensor, int]:
        """Add up what the ranks made of their parts of a batch; with `whole` also the gradients, in their place.

        Args:
            gradients: Of the same parameters in each rank.
            loss: The mean loss of this rank's part, of which `weight` says how much it counts.
            samples: The samples of this part.

        Returns:
            The mean loss of the whole batch, the weight of it, and its samples.
        """
        there = gradients.collect() if whole else [False] * len(gradients.parameters)
        gradients.sums[0], gradients.sums[1] = loss * weight, weight
        gradients.notes.copy_(torch.tensor([samples, *self.wishes, *there]))
        buffer = gradients.flat if whole else gradients.tail
        works = [(self._add(buffer, self.data), self.data)]
        if self.is_split:
            works.append((self._add(gradients.notes, self.control), self.control))
        for work, group in works:
            self._wait(work, group)
        told = gradients.notes.tolist()
        self.granted = list(map(bool, told[1:4]))
        if whole:
            gradients.give_back(told[4:])
        return gradients.sums[0] / gradients.sums[1], gradients.sums[1].clone(), int(told[0])

    def predict(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and targets of a whole batch, of which this rank has a part, in the order of its samples."""
        logits = model(inputs) if len(targets) else None
        form = [0, 0] if logits is None else [logits.shape[1], KINDS.index(logits.dtype)]
        told = self._gather(torch.tensor([[len(targets), *form, *self.wishes]]), [1] * self.ranks.count, self.control)
        self.granted = [any(column) for column in told[:, 3:].T.tolist()]
        sizes: list[int] = told[:, 0].tolist()
        self.seen += sum(sizes)
        if logits is None:
            width, kind = told[:, 1:3].max(dim=0).values.tolist()
            logits = torch.zeros(0, width, dtype=KINDS[kind], device=self.device)
        return self._gather(logits, sizes, self.data), self._gather(targets.to(self.device), sizes, self.data)

    def conclude(self, scores: dict[str, float], samples: int) -> dict[str, float]:
        """Return the scores of an evaluation as the first rank has them, so that all decide alike.

        Raises:
            RuntimeError: the ranks have not seen each sample once.
        """
        seen, self.seen = self.seen, 0
        if seen != samples:
            raise RuntimeError(f"the ranks evaluated {seen} of {samples} samples")
        told: dict[str, float] = self.collect(scores)[0]
        return told

    def collect(self, value: Any) -> list[Any]:
        """Return what each rank has in this place, plain data, in their order."""
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = self._count(text)
        texts = self._gather(text, sizes, self.control).split(sizes)
        return [json.loads(bytes(each.tolist())) for each in texts]

    def join(self, rows: Tensor) -> Tensor:
        """Return the rows of all ranks, on the CPU, one after the other."""
        return self._gather(rows, self._count(rows), self.control)

    @torch.no_grad()
    def share(self, tensors: Iterable[Tensor]) -> None:
        """Let tensors of all ranks have the values that they have in the first one."""
        works = []
        for tensor in tensors:
            told = tensor.detach().contiguous()
            raw = told.flatten().view(torch.uint8)  # numbers of any type
            works.append((tensor, told, dist.broadcast(raw, 0, group=self.data, async_op=True)))
        for tensor, told, work in works:
            self._wait(work, self.data)
            if told.data_ptr() != tensor.data_ptr():
                tensor.copy_(told)

    @property
    def is_split(self) -> bool:
        """Whether what a device has travels by another way than what this process knows."""
        return self.data is not self.control

    def close(self) -> None:
        """End the group, which holds threads and connections: a process may be of many, one after the other."""
        for group in dict.fromkeys((self.data, self.control)):
            dist.destroy_process_group(group)
        del self.data, self.control  # its threads end when nothing refers to it any more

    def meet(self) -> None:
        """Wait until all ranks are here."""
        self.collect(None)

    def begin(self, trainer: Trainer, folder: Path) -> Path:
        """Let all ranks begin with the model that the first one has; return the folder of its run."""
        self.share([*trainer.model.parameters(), *trainer.model.buffers(), *trainer.evaluated.buffers()])
        self.draw_apart(trainer.config.seed)
        return Path(self.collect(str(folder))[0])

    def agree(self, wishes: list[bool], *, act: bool) -> list[bool]:
        """Return what any rank wished at the last exchange; tell the others with the next one what this one wishes.

        With `act` what is granted is done now, and nothing is wished for that is done.
        """
        granted = self.granted
        self.wishes = [False] * len(wishes) if act and any(granted) else wishes
        return granted

    def draw_apart(self, seed: int) -> None:
        """Let this rank draw other random numbers than the rest; the first one goes on with its own."""
        import random

        import numpy

        if not self.ranks.is_first:
            number = self.ranks.vary(seed)
            torch.manual_seed(number)
            random.seed(number)
            numpy.random.seed(number % 2**32)

    def _count(self, rows: Tensor) -> list[int]:
        """Return how many rows each rank has."""
        counts: list[int] = self._gather(torch.tensor([len(rows)]), [1] * self.ranks.count, self.control).tolist()
        return counts

    def _gather(self, rows: Tensor, sizes: Sequence[int], group: Any) -> Tensor:
        """Return the rows of all ranks, of which each has so many."""
        most = max(sizes)
        if len(rows) < most:  # what is sent must be as long everywhere
            rows = torch.cat([rows, rows.new_zeros(most - len(rows), *rows.shape[1:])])
        found = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in sizes]
        self._wait(dist.all_gather(found, rows.contiguous(), group=group, async_op=True), group)
        return torch.cat([part[:size] for part, size in zip(found, sizes, strict=True)])

    def _add(self, tensor: Tensor, group: Any) -> Any:
        return dist.all_reduce(tensor, group=group, async_op=True)

    def _wait(self, work: Any, group: Any) -> None:
        """Wait until all ranks have done their part; of an accelerator only its queue waits.

        Raises:
            WorkerError: a rank has ended, or does not come.
        """
        if group is not self.control:
            work.wait()
            return
        try:
            self._look_for_others(work)
        except BaseException:
            if not work.is_completed():
                threading.Thread(target=_keep, args=(group,), daemon=True).start()
            if self.is_split:  # what is kept of a model could not be read from a device that waits for a lost rank
                self.data.abort()
            raise

    def _look_for_others(self, work: Any) -> None:
        # Counted in looks: while the whole program is stopped, by Ctrl-Z say, no more than one of them passes.
        for _ in range(max(1, ceil(self.patience / LOOK.total_seconds()))):
            with suppress(RuntimeError):
                work.wait(min(LOOK, timedelta(seconds=self.patience)))
            if work.is_completed():  # perhaps just after a look that was in vain
                break
        else:
            self._name_missing()
        try:
            work.wait()
        except RuntimeError as error:
            raise LostError("another rank has ended", describe(error).partition(". This is")[0]) from error

    def _name_missing(self) -> NoReturn:
        missing = self._find_missing()
        who = f"rank {' and rank '.join(map(str, missing))}" if missing else "a rank"
        fix = "Wait longer with rank_timeout=..., or see what it does there"
        raise HangingError(f"{who} has not answered for {self.patience:g} s", "the others waited for it", fix)

    def _find_missing(self) -> list[int]:
        """Return the ranks that do not say that they wait as well."""
        self.store.set(f"waits-{self.ranks.index}", "")
        end = time.monotonic() + min(ANSWER, self.patience)
        while missing := [rank for rank in range(self.ranks.count) if not self.store.check([f"waits-{rank}"])]:
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        return missing


class HangingError(WorkerError):
    """A rank does not answer."""


class LostError(WorkerError):
    """Another rank has ended: its own error says why."""

    is_lost = True


def _keep(group: Any) -> None:
    """Never return: a group that is let go of would hold up the end of the process until its last answer comes."""
    threading.Event().wait()


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
