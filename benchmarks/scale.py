"""The arithmetic of docs/design/scale.md: what training over many GPUs moves, and how long that takes.

Nothing is measured here: the tables follow from the inputs below, which the page names with their sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

NVLINK, INFINIBAND, ETHERNET = 450e9, 50e9, 25e9 / 8
"""Bytes a second in one direction: of a GPU inside its machine and to other machines, of a machine."""
PER_MACHINE = 8
"""GPUs of a machine."""
BATCH = 256
"""Samples of a batch in each GPU."""
PICTURE, DECODED = 110e3, 0.7e-3
"""Bytes of a JPEG, and the seconds in which one core decodes it."""
DATA, SHARD, ROW, PLACE, DRAWN = 10e12, 256e6, 40, 8, 30
"""Bytes: of the large data set, of a shard, of a row of the index, of a place in the order of an epoch, and of all that
is in memory of a sample while that order is drawn."""
DISK, HASHED = 2e9, 1.5e9
"""Bytes a second that a machine reads from where the shards lie, and that a core hashes by SHA-256."""
FLOATS = 4
"""Bytes of a gradient's value."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model of the catalogue: its parameters, the operations of a forward pass, and those a GPU does in a second."""

    name: str
    parameters: int
    flop: float
    rate: float

    @property
    def step(self) -> float:
        """Seconds of forward and backward pass, the latter twice the former."""
        return 3 * self.flop * BATCH / self.rate

    def reduce(self, ranks: int, bandwidth: float) -> float:
        """Seconds in which a ring adds up the gradients: each rank sends them nearly twice."""
        return 2 * (ranks - 1) / ranks * FLOATS * self.parameters / bandwidth


MODELS = (
    Model(name="torchvision/resnet50", parameters=25_557_032, flop=8.18e9, rate=100e12),
    Model(name="torchvision/vit_l_16", parameters=304_326_632, flop=119.3e9, rate=400e12),
)


def list_reductions() -> list[tuple[str, ...]]:
    """Return the rows of the table of gradients."""
    rows = [("model", "gradients", "step", "8 GPUs, NVLink", "64 GPUs, InfiniBand", "64 GPUs, Ethernet")]
    for model in MODELS:
        ways = ((8, NVLINK), (64, INFINIBAND), (64, ETHERNET / PER_MACHINE))
        times = [model.reduce(ranks, bandwidth) for ranks, bandwidth in ways]
        shares = [f"{show(each)}, {each / (each + model.step):.1%}" for each in times]
        rows.append((model.name, f"{FLOATS * model.parameters / 1e6:,.0f} MB", show(model.step), *shares))
    return rows


def list_inputs() -> list[tuple[str, ...]]:
    """Return the rows of the table of what reads the data."""
    rows = [("model", "pictures a GPU", "bytes a machine", "cores that decode", "64 GPUs read")]
    for model in MODELS:
        rate = BATCH / model.step
        machine = rate * PER_MACHINE
        told = (
            f"{machine * PICTURE / 1e9:.1f} GB/s",
            f"{ceil(machine * DECODED)}",
            f"{8 * machine * PICTURE / 1e9:.1f} GB/s",
        )
        rows.append((model.name, f"{rate:,.0f}/s", *told))
    return rows


def list_data() -> list[tuple[str, ...]]:
    """Return the rows of the table of the large data set."""
    samples = DATA / PICTURE
    return [
        ("of 10 TB", "in all", "a process", "a machine of 8"),
        ("samples", f"{samples / 1e6:.0f} million", "", ""),
        ("shards", f"{ceil(DATA / SHARD):,}", "", ""),
        ("index, mapped", "", "", f"{samples * ROW / 1e9:.1f} GB"),
        ("order of an epoch", "", f"{samples * PLACE / 1e9:.1f} GB", f"{PER_MACHINE * samples * PLACE / 1e9:.0f} GB"),
        ("while it is drawn", "", f"{samples * DRAWN / 1e9:.1f} GB", f"{PER_MACHINE * samples * DRAWN / 1e9:.0f} GB"),
        ("hashed once", "", f"{DATA / HASHED / 3600:.1f} h by one core", ""),
        ("read once", "", "", f"{DATA / DISK / 3600:.1f} h by one machine"),
        *(
            (f"epoch of {model.name}", f"{samples / (64 * BATCH / model.step) / 60:.0f} min on 64 GPUs", "", "")
            for model in MODELS
        ),
    ]


def show(seconds: float) -> str:
    """Return a time in milliseconds, of three digits at most."""
    return f"{1e3 * seconds:,.0f} ms" if seconds > 0.01 else f"{1e3 * seconds:.1f} ms"


def make_table(rows: list[tuple[str, ...]]) -> str:
    """Return rows as a table of Markdown, the first one as its head."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], ("---",) * len(rows[0]), *rows[1:]])


def main() -> None:
    print("\n\n".join(map(make_table, (list_reductions(), list_inputs(), list_data()))))


if __name__ == "__main__":
    main()
