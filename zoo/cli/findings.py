"""Findings as the commands print them: one line for what passed, a block for each thing that did not."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli.output import escape, measure_width, write_result
from zoo.cli.wording import to_options

if TYPE_CHECKING:
    from zoo.registry.certificates import Finding

WORDS = {
    "passed": "passed",
    "warning": "with a warning",
    "failed": "failed",
    "skipped": "not applicable",
    "untried": "not tried",
}

MEMORY = {
    "model": "model",
    "gradient": "gradients",
    "optimizer": "optimizer",
    "activation": "activations",
    "data": "data",
}
"""The parts of the memory that a training needs, and what they are called."""


def write_findings(title: str, findings: Sequence[Finding], verbose: bool = False) -> None:
    """Print the findings of one entry: the number of each status, then the details."""
    counts: Counter[str] = Counter(found.status for found in findings)
    told = ", ".join(f"{counts[status]} {words}" for status, words in WORDS.items() if counts[status])
    write_result(f"{title}: {told}")
    for found in findings:
        if found.status in ("warning", "failed"):
            _write_block(found)
        elif verbose or found.status == "untried":
            write_result(f"  {found.status:<8}{found.check:<12}{escape(found.seen)}")


def list_estimates(numbers: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return what a training takes, in words."""
    parts = [f"{numbers[f'{part}_bytes'] / 1e6:,.1f} {told}" for part, told in MEMORY.items()]
    rows = [
        ("parameters", f"{numbers['parameters']:,} ({numbers['trainable']:,} trained)"),
        ("forward", f"{numbers['flop_per_sample']:,} floating-point operations a sample"),
        ("memory", f"about {numbers['memory_bytes'] / 1e6:,.1f} MB: {', '.join(parts)}"),
    ]
    if "peak_bytes" in numbers:
        told = "all of the process, on a GPU its tensors"
        rows.append(("in use", f"about {numbers['peak_bytes'] / 1e6:,.0f} MB at most: {told}"))
    summed = f", {numbers['sum_seconds'] * 1e3:.2f} of them to add up gradients" if "sum_seconds" in numbers else ""
    rows.append(("step", f"about {numbers['step_seconds'] * 1e3:.2f} ms, with the reading of its batch{summed}"))
    if "epoch_seconds" in numbers:
        times = {"training": numbers["epoch_seconds"], "evaluation": numbers.get("evaluation_seconds", 0.0)}
        told = ", ".join(f"{_show_seconds(seconds)} {what}" for what, seconds in times.items() if seconds)
        rows.append(("epoch", f"about {_show_seconds(sum(times.values()))} s: {told}"))
    return rows


def _show_seconds(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.2g}"


def _write_block(found: Finding) -> None:
    width = max(60, min(100, measure_width(100)))
    write_result(f"  {found.status:<8}{found.check}")
    parts = {"seen": found.seen, "why": found.why, "fix": to_options(found.fix), "at": _shorten(found.where)}
    for label, text in parts.items():
        if text:
            # A path is not wrapped, so that it can be clicked and copied.
            lines = [escape(text)] if label == "at" else textwrap.wrap(escape(text), width - 10, break_on_hyphens=False)
            for index, line in enumerate(lines):
                write_result(f"    {label if index == 0 else '':<6}{line}")


def _shorten(where: str) -> str:
    """Return a place relative to the current folder when it is below it."""
    with suppress(OSError):
        return where.removeprefix(f"{Path.cwd()}{os.sep}")
    return where
