"""What `zoo show DATASET --counts` adds: samples of each class, and batches as a training sees them."""

from __future__ import annotations

from typing import Any

from zoo.commands.output import escape, write_result, write_table


def write_counts(description: Any) -> None:
    """Print a table of samples by class and split, and a line about the batches of each split."""
    splits = description.splits
    rows = [("class", *splits)]
    for index, name in enumerate(description.class_names):
        rows.append((f"{index} {escape(name)}", *(str(split.per_class[index]) for split in splits.values())))
    rows.append(("all", *(str(split.samples) for split in splits.values())))
    width = max(len(cell) for row in rows for cell in row[1:])
    write_table([(first, *(cell.rjust(width) for cell in cells)) for first, *cells in rows], indent="  ")
    for name, split in splits.items():
        batches = f"{split.batches} batch{'' if split.batches == 1 else 'es'} of {split.batch_size}"
        write_result(f"  {name}: {batches}, inputs {list(split.inputs)}, targets {list(split.targets)}")
