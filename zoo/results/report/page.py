"""Reports: one HTML page about results, to read and to send. It needs no network and no other file.

The page is made of report.html.jinja, report.css and report.js. All text in it is escaped, and its policy lets a
browser run that script alone and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.data.samples import choose_samples
from zoo.errors import UsageError, ZooError, describe, one_line
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.places import Places, open_places
from zoo.results import conclusions
from zoo.results.comparison import Comparison, SplitComparison, compare_results
from zoo.results.plots.colors import choose_looks, write_css
from zoo.results.plots.images import find_wrong
from zoo.results.plots.style import plot_style
from zoo.results.reading import Result, gather_samples, require_outcomes
from zoo.results.report.charts import draw_charts
from zoo.results.report.details import describe_result
from zoo.results.report.overview import Overview
from zoo.results.report.thumbnails import make_thumbnails
from zoo.results.selection import Selection, describe_left_out, select_results
from zoo.storage.files import write_file
from zoo.version import __version__

log = logging.getLogger("zoo")

USUAL_OUTPUT, MARK = "report.html", b'<meta name="generator" content="zoo">'
"""Where a page goes that nobody has named, and what is in each."""
RANDOM_SAMPLES, MAX_WRONG, MAX_WRONG_IN_ALL = 12, 12, 120
"""Thumbnails: random samples, and the most wrong samples of one result and of all results, at most."""
MAX_OPEN = 3
"""Results whose parts are open from the start, at most."""
WORD_END = re.compile(r"(?<=[@_/])(?=\w)|(?<=\.)(?=[^\W\d])")
"""Where the words of a name end, beside spaces and hyphens."""


@checked
def report(
    references: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    dataset: str | Sequence[str] = (),
    registry: Registry | None = None,
    plugins: Sequence[str | Path | object] = (),
    runs_dir: str | Path | None = None,
    data_dir: str | Path | None = None,
    offline: bool | None = None,
    progress: bool = False,
) -> Path:
    """Write one self-contained HTML page about trained weights, compared as `compare` does; return its path.

    Without `output` that is `report.html` in the current folder, where another report may be, but nothing else.

    Results on different data have a part of the page each. What is left out is named on the page and by a warning, and
    `compare` of the same references gives it as data. Samples are shown where the data set can be had; where not, the
    page says why they are missing, and a warning too.

    Raises:
        UsageError: jinja2 or matplotlib is not installed; no reference, or no result on such a data set.
        WeightsError: nothing is left to report; the message says why.
        ZooError: see `read_results`.
        StorageError: the page cannot be written; an older one stays.
    """
    places = open_places(registry, plugins, data_dir=data_dir, runs_dir=runs_dir, offline=offline)
    datasets = [dataset] if isinstance(dataset, str) else list(dataset)
    return write_report(references, output, places, datasets=datasets, progress=progress).output


@dataclass(frozen=True, kw_only=True)
class Report:
    """A page that was written: its path, and the comparison that it shows."""

    output: Path
    comparison: Comparison


def write_report(
    references: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None,
    places: Places,
    *,
    datasets: Sequence[str] = (),
    overview: Overview | None = None,
    progress: bool,
) -> Report:
    """Write the page of `report`, which begins with the overview where there is one; return what it shows too."""
    template, target = _load_template(), _choose_output() if output is None else Path(output)
    with plot_style():
        pass  # nothing is evaluated for a page whose charts cannot be drawn
    selection = select_results(references, places, datasets=datasets, progress=progress)
    comparison = compare_results(selection)
    page = template.render({**_gather_context(comparison, selection, places), "overview": overview})
    write_file(target, page.encode(), what="the report", fix="Use output=... to write elsewhere.")
    return Report(output=target, comparison=comparison)


def _choose_output() -> Path:
    """Return where a page goes that nobody has named; raise UsageError where a page of somebody else is there."""
    path = Path(USUAL_OUTPUT)
    if path.exists() and (not path.is_file() or MARK not in path.read_bytes()[:4096]):
        raise UsageError(f"{path} is there, and no report of zoo", fix="Name the page to write: output='other.html'")
    return path


def _load_template() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise UsageError("a report needs jinja2", describe(error), "pip install 'zoo-torch[plots]'") from error
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": conclusions.format_percent,
        "p": conclusions.format_p,
        "score": _format_score,
        "breakable": _make_breakable,
        "unbroken": _keep_together,
    }
    return environment.from_string(_read("report.html.jinja"))


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _make_breakable(text: str) -> Any:
    """Return foreign text escaped, as a name that a browser breaks between its words rather than inside them."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(map(escape, WORD_END.split(text)))


def _keep_together(text: str) -> str:
    """Return a sentence whose numbers stay on one line with their unit and with their letter."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace("p = ", "p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")


def _format_score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _gather_context(comparison: Comparison, selection: Selection, places: Places) -> dict[str, Any]:
    style, script = _read("report.css") + write_css(), _read("report.js")
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    results, splits = selection.results, comparison.splits
    named = {result.name: result for result in results}
    looks = dict(zip(named, choose_looks(results), strict=True))
    titles = conclusions.title_splits(splits)
    shown = [
        _describe_split(
            split, title, [named[row.name] for row in split.rows], looks, f"part-{number}-", len(splits), places
        )
        for number, (split, title) in enumerate(zip(splits, titles, strict=True), start=1)
    ]
    where = titles[0] if len(titles) == 1 else f"{len(titles)} data sets"
    return {
        "style": style,
        "script": script,
        "style_digest": next(digests),
        "script_digest": next(digests),
        "version": __version__,
        "made": time.strftime("%Y-%m-%d %H:%M %Z"),
        "subject": f"{len(results)} result{'' if len(results) == 1 else 's'} on {where}",
        "parts": shown,
        "left_out": describe_left_out(comparison.left_out, len(results)) if comparison.left_out else "",
        "level": 2 if len(splits) == 1 else 3,
        "columns": list(conclusions.COLUMNS),
    }


def _describe_split(
    split: SplitComparison,
    title: str,
    results: Sequence[Result],
    looks: Mapping[str, Mapping[str, Any]],
    prefix: str,
    parts: int,
    places: Places,
) -> dict[str, Any]:
    """Return what the page says of results on the same samples, the best first; ids begin with `prefix`."""
    samples = _gather_samples(results, places)
    cells = [[describe(row) for describe in conclusions.COLUMNS.values()] for row in split.rows]
    return {
        "id": prefix,
        "title": title,
        "comparison": split,
        "verdict": [*conclusions.summarize(split), *(line for result in results for line in _list_remarks(result))],
        "rows": list(zip(split.rows, cells, strict=True)),
        "pairs": [(pair, conclusions.describe_pair(pair)) for pair in conclusions.find_pairs_of_best(split)],
        "groups": [(group, conclusions.describe_group(group)) for group in split.groups],
        "has_seeds": any(group.deviation is not None for group in split.groups),
        "models": conclusions.describe_models(split),
        "curves": draw_charts(results, looks, prefix=prefix),
        "without_record": [result.name for result in results if not result.history],
        "samples": samples,
        "details": list(zip(split.rows, map(describe_result, results), samples["wrong"], strict=True)),
        "open": parts == 1 and len(results) <= MAX_OPEN,
    }


def _list_remarks(result: Result) -> list[str]:
    """Return what its run says is wrong with a result, and where its training was going."""
    record = result.run_record
    return [f"{result.name}: {one_line(line)}." for line in (*record.verdict, *record.trend)] if record else []


def _gather_samples(results: Sequence[Result], places: Places) -> dict[str, Any]:
    """Return the samples to show: random ones, and the most wrong of each result; or why there are none."""
    count = max(2, min(MAX_WRONG, MAX_WRONG_IN_ALL // len(results)))
    outcomes = [require_outcomes(result) for result in results]
    shared = choose_samples(len(outcomes[0].targets), RANDOM_SAMPLES, seed=42)
    wrong = [find_wrong(each, count) for each in outcomes]
    indices = list(dict.fromkeys([*shared, *(index for each in wrong for index in each)]))
    try:
        pictures = dict(zip(indices, make_thumbnails(gather_samples(results[0], indices, places)), strict=True))
    except ZooError as error:
        log.warning("the report shows no samples: %s", error)
        return {"missing": one_line(str(error)), "random": [], "wrong": [[] for _ in results]}
    names = outcomes[0].class_names
    random = [
        {
            "index": index,
            "picture": pictures[index],
            "truth": names[int(outcomes[0].targets[index])],
            "predictions": [
                (names[int(each.predictions[index])], float(each.probabilities[index]), bool(each.correct[index]))
                for each in outcomes
            ],
        }
        for index in shared
    ]
    return {
        "missing": "",
        "random": random,
        "wrong": [
            [
                {
                    "index": index,
                    "picture": pictures[index],
                    "truth": names[int(each.targets[index])],
                    "truth_probability": float(each.target_probabilities[index]),
                    "predicted": names[int(each.predictions[index])],
                    "probability": float(each.probabilities[index]),
                }
                for index in chosen
            ]
            for each, chosen in zip(outcomes, wrong, strict=True)
        ],
    }
