"""`zoo compare`: results side by side, what tells the files apart, and what tells the models apart."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.command import Command
from zoo.cli.options import Discover, dataset_option, output_options, place_options, plugin_options
from zoo.cli.output import escape, write_json, write_note, write_result, write_table
from zoo.cli.torch_import import prepare_for_torch
from zoo.errors import SettingError, UsageError

if TYPE_CHECKING:
    from zoo.results.comparison import Comparison, SplitComparison

WHY_COURSE = (
    "course: the mean of the accuracies of batches of 32, as the course prints it. The last batch counts as much as a "
    "full one, so it differs from the share of right predictions."
)
MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\|`*_<>[]#~"})
FILES, MODELS = "Do these files differ?", "Is one model better?"
HOW_FILES = "exact McNemar test on the same samples: gained and lost are those that only one of the two has right"
HOW_MODELS = "Welch's t-test on runs that differ in the seed alone"
PICTURES = (".png", ".svg", ".pdf")


@click.command("compare", cls=Command)
@click.argument("references", nargs=-1, required=True, metavar="WEIGHTS...")
@dataset_option
@click.option("--course-style", is_flag=True, help="Show the accuracy as the course counts it too.")
@click.option("--output", metavar="FILE", help="Draw the accuracies with their intervals: .png, .svg or .pdf.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV with a header.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")
@place_options()
@plugin_options
@output_options
def compare_command(
    references: tuple[str, ...],
    course_style: bool,
    output: str | None,
    as_csv: bool,
    as_markdown: bool,
    discover: Discover,
    as_json: bool,
    **places: Any,
) -> None:
    """Compare weights on the same test split, and say what a difference means.

    WEIGHTS is a file, a run folder, @last, @best, MODEL@DATASET or the name of weights. Two files differ or not on the
    samples at hand; whether a model is better than another, only several seeds of each tell (zoo run --seeds 5).

    Each data set has a table of its own. Paths that cannot take part (runs without weights, other files) are left out
    and named on stderr. --csv is one table; --json is one object with the rows, or several in "splits" where the
    data are not the same.
    """
    given = [option for option, on in (("--json", as_json), ("--csv", as_csv), ("--markdown", as_markdown)) if on]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} were both given", fix="Give one of them")
    if output is not None and not output.lower().endswith(PICTURES):
        raise SettingError("--output", f"expected a name that ends in {', '.join(PICTURES)}", output)
    prepare_for_torch()
    from zoo.results.comparison import compare

    comparison = compare(references, registry=discover(), progress=True, **places)
    if output is not None:
        from zoo.results.plots.accuracy import plot_comparison
        from zoo.results.plots.style import save_figure

        save_figure(plot_comparison(comparison), output)
    if as_json:
        write_json(comparison.to_dict() | ({} if output is None else {"output": output}))
    elif as_csv:
        _write_csv(comparison, course_style)
    else:
        _write_text(comparison, course_style, markdown=as_markdown)
    if output is not None and not as_json:
        # CSV and Markdown are often read by a program, which expects nothing else on stdout.
        (write_note if as_csv or as_markdown else write_result)(f"picture: {escape(output)}")


def _list_rows(split: SplitComparison, course_style: bool) -> list[list[str]]:
    from zoo.results.conclusions import COLUMNS, format_percent

    rows = [["name", *COLUMNS, *(["course"] if course_style else [])]]
    for row in split.rows:
        cells = [row.name, *(describe(row).text for describe in COLUMNS.values())]
        rows.append([*cells, *([format_percent(row.course_accuracy)] if course_style else [])])
    return rows


def _list_pairs(split: SplitComparison) -> list[list[str]]:
    """Return a table of the best result against each other one."""
    from zoo.results.conclusions import describe_pair, find_pairs_of_best, format_p

    tests = len(split.pairs)
    adjusted = [f"p of {tests} tests"] if tests > 1 else []
    rows = [[f"{split.rows[0].name} against", "gained", "lost", "p", *adjusted, ""]]
    for pair in find_pairs_of_best(split):
        values = [pair.p, pair.adjusted_p] if adjusted else [pair.p]
        counts = [f"{pair.gained:,}", f"{pair.lost:,}"]
        rows.append([pair.second, *counts, *map(format_p, values), describe_pair(pair)])
    return rows


def _list_notes(split: SplitComparison, course_style: bool) -> list[str]:
    """Return what the table is about: the samples, where times come from, how the course counts."""
    samples = f"{split.samples:,} samples of {escape(split.dataset)}, split {escape(split.split)}"
    timings: dict[str, list[str]] = {}
    for row in split.rows:
        timings.setdefault(escape(row.timing), []).append(escape(row.name))
    if len(timings) == 1:
        times = [f"times: {timing}" for timing in timings]
    else:
        times = [f"times of {', '.join(names)}: {timing}" for timing, names in timings.items()]
    return [samples, *times, *([WHY_COURSE] if course_style else [])]


def _write_text(comparison: Comparison, course_style: bool, *, markdown: bool) -> None:
    from zoo.results.conclusions import title_splits

    several = len(comparison.splits) > 1
    for number, (split, title) in enumerate(zip(comparison.splits, title_splits(comparison.splits), strict=True)):
        if several:
            heading = f"## {_clean(title)}\n" if markdown else f"Data set {escape(title)}"
            write_result(f"\n\n{heading}" if number else heading)
        _write_split(split, course_style, markdown=markdown)


def _write_split(split: SplitComparison, course_style: bool, *, markdown: bool) -> None:
    from zoo.results.conclusions import describe_group, describe_models

    bold, item, end = ("**", "- ", "\n") if markdown else ("", "  ", "")
    clean = _clean if markdown else escape
    _write_rows(_list_rows(split, course_style), markdown)
    if markdown:
        write_result("")
    for note in _list_notes(split, course_style):
        write_result(f"- {_clean(note)}" if markdown else note)
    if not split.pairs:
        return
    write_result(f"\n{bold}{FILES}{bold} ({HOW_FILES}){end}")
    _write_rows(_list_pairs(split), markdown, "  ")
    others = len(split.pairs) - len(split.rows) + 1
    if others:
        write_result(f"{end or item}and {others} more pair{'' if others == 1 else 's'} of the others: --json")
    write_result(f"\n{bold}{MODELS}{bold} ({HOW_MODELS}){end}")
    if any(group.deviation is not None for group in split.groups):
        groups = [(clean(group.name), clean(describe_group(group))) for group in split.groups]
        if markdown:
            write_result("\n".join(f"- {name}: {described}" for name, described in groups))
        else:
            write_table(groups, "  ")
    for line in describe_models(split):
        write_result(f"{item}{clean(line)}")


def _write_rows(rows: Sequence[Sequence[str]], markdown: bool, indent: str = "") -> None:
    if not markdown:
        write_table([[escape(cell) for cell in cells] for cells in rows], indent)
        return
    write_result(f"| {' | '.join(map(_clean, rows[0]))} |\n|---|{'---:|' * (len(rows[0]) - 1)}")
    for row in rows[1:]:
        write_result(f"| {' | '.join(map(_clean, row))} |")


def _write_csv(comparison: Comparison, course_style: bool) -> None:
    told = comparison.to_dict()
    rows = [row for split in told.get("splits", [told]) for row in split["rows"]]
    names = [name for name in rows[0] if name != "course_accuracy" or course_style]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: escape(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in rows
    )
    write_result(text.getvalue().removesuffix("\n"))


def _clean(text: str) -> str:
    """Return text as Markdown shows it as it is."""
    return escape(text).translate(MARKDOWN)
