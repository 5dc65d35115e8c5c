"""Comparison: results side by side, and two questions kept apart.

Do two files differ? That is a question about two fixed sets of predictions, answered on the same samples. Is one model
better than another? That is a question about trainings to come, and only several seeds of each can answer it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy

from zoo.display import make_table, say
from zoo.errors import UsageError
from zoo.records.plain import to_json_data
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.places import open_places
from zoo.results.reading import Result, require_outcomes
from zoo.results.row import Row, make_row
from zoo.results.seeds import Group, GroupPair, compare_groups, group_results
from zoo.results.selection import LeftOut, Selection, select_results
from zoo.results.significance import holm_adjust, mcnemar_p


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two results on the same samples: do these files differ?

    Fields:
        first, second: the names of the results.
        gained, lost: the samples that only `first` has right, and those that only `second` has right.
        p: of McNemar's exact test.
        adjusted_p: `p` adjusted by Holm's method to the number of pairs in the comparison.
    """

    first: str
    second: str
    gained: int
    lost: int
    p: float
    adjusted_p: float


@dataclass(frozen=True, kw_only=True, repr=False)
class SplitComparison:
    """Results on the same samples. `rows` and `groups` have the best first; the pairs are all pairs of them."""

    dataset: str
    split: str
    samples: int
    digest: str | None
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    groups: tuple[Group, ...]
    group_pairs: tuple[GroupPair, ...]

    def __repr__(self) -> str:
        told = f"{self.samples:,} samples of {self.dataset}, split {self.split}"
        return say("SplitComparison", told, *(f"{row.name} {row.accuracy:.4f}" for row in self.rows[:3]))

    def _repr_html_(self) -> str:
        rows = [
            (
                row.name,
                "-" if row.seed is None else row.seed,
                f"{row.parameters:,}",
                f"{row.correct:,}",
                f"{row.accuracy:.4f}",
                f"{row.low:.4f} to {row.high:.4f}",
            )
            for row in self.rows
        ]
        heading = ("name", "seed", "parameters", "correct", "accuracy", "95 % interval")
        return make_table(rows, heading, caption=f"{self.samples:,} samples of {self.dataset}, split {self.split}")


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """Results side by side, those on the same samples with each other.

    Where all are on the same samples, their table is the comparison's own: `comparison.rows`, `.pairs`, `.groups` and
    the other fields of `SplitComparison`. Of several tables none can speak for the others, so these names then raise
    UsageError; go through `splits`.

    Fields:
        splits: a table for each set of samples, the one of the first reference first.
        left_out: paths that take no part, and why.
    """

    splits: tuple[SplitComparison, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def dataset(self) -> str:
        """The data set of the only table."""
        return self._only.dataset

    @property
    def split(self) -> str:
        """The split of the only table."""
        return self._only.split

    @property
    def samples(self) -> int:
        """How many samples the only table is about."""
        return self._only.samples

    @property
    def digest(self) -> str | None:
        """The digest of the data of the only table, None where it is not known."""
        return self._only.digest

    @property
    def rows(self) -> tuple[Row, ...]:
        """The results of the only table, the best first."""
        return self._only.rows

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs of the results of the only table."""
        return self._only.pairs

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of seeds of the only table, the best first."""
        return self._only.groups

    @property
    def group_pairs(self) -> tuple[GroupPair, ...]:
        """All pairs of the groups of several seeds of the only table."""
        return self._only.group_pairs

    @property
    def _only(self) -> SplitComparison:
        if len(self.splits) > 1:
            names = ", ".join(f"{each.samples} samples of {each.dataset}" for each in self.splits)
            what = f"these results are on {len(self.splits)} different sets of samples"
            raise UsageError(what, names, "Go through the splits of the comparison, or narrow it by dataset")
        return self.splits[0]

    def __repr__(self) -> str:
        tables = (repr(split).removeprefix("SplitComparison(").removesuffix(")") for split in self.splits)
        return say("Comparison", *tables, *(f"{len(self.left_out)} left out",) * bool(self.left_out))

    def _repr_html_(self) -> str:
        left = [(each.reference, each.why) for each in self.left_out]
        tables = [split._repr_html_() for split in self.splits]
        return "".join([*tables, *[make_table(left, ("left out", "why"))] * bool(left)])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data: the fields of the only table and `left_out`, or `splits` with a list of tables."""
        tables = [_tabulate(split) for split in self.splits]
        told = tables[0] if len(tables) == 1 else {"splits": tables}
        plain: dict[str, Any] = to_json_data({**told, "left_out": [asdict(each) for each in self.left_out]})
        return plain


def _tabulate(comparison: SplitComparison) -> dict[str, Any]:
    data = asdict(comparison)
    for row in data["rows"]:
        row |= {"weights": str(row["weights"]), "run": None if row["run"] is None else str(row["run"])}
    data["group_pairs"] = [{**pair, **pair.pop("test")} for pair in data["group_pairs"]]
    return data


@checked
def compare(
    references: Sequence[str | os.PathLike[str]],
    *,
    dataset: str | Sequence[str] = (),
    registry: Registry | None = None,
    plugins: Sequence[str | Path | object] = (),
    runs_dir: str | Path | None = None,
    data_dir: str | Path | None = None,
    offline: bool | None = None,
    progress: bool = False,
) -> Comparison:
    """Compare trained weights, those on the same test split with each other; the references are those of `load`.

    What a run recorded is taken from it; other weights are evaluated. References to one file count once. A path that
    cannot take part, a run without weights say, is left out: the result names it, and so does a warning. With
    `dataset`, a name or several, results on other data sets are passed over.

    Raises:
        UsageError: no reference, or no result on such a data set.
        WeightsError: nothing is left to compare; the message says why.
        ZooError: see `read_results`.
    """
    places = open_places(registry, plugins, data_dir=data_dir, runs_dir=runs_dir, offline=offline)
    datasets = [dataset] if isinstance(dataset, str) else list(dataset)
    return compare_results(select_results(references, places, datasets=datasets, progress=progress))


def compare_results(selection: Selection) -> Comparison:
    """Compare results that were read with their outcomes, those on the same samples with each other."""
    splits: list[list[Result]] = []
    for result in selection.results:
        same = next((group for group in splits if _have_same_samples(group[0], result)), None)
        if same is None:
            splits.append(same := [])
        same.append(result)
    return Comparison(splits=tuple(map(_compare_split, splits)), left_out=selection.left_out)


def _compare_split(results: Sequence[Result]) -> SplitComparison:
    ranked = sorted(results, key=lambda result: -require_outcomes(result).accuracy)
    groups = group_results(ranked)
    origin = require_outcomes(ranked[0]).origin
    return SplitComparison(
        dataset=origin.dataset,
        split=origin.split,
        samples=len(require_outcomes(ranked[0])),
        digest=origin.digest,
        rows=tuple(make_row(result) for result in ranked),
        pairs=_compare_files(ranked),
        groups=groups,
        group_pairs=compare_groups(groups),
    )


def _have_same_samples(first: Result, second: Result) -> bool:
    one, other = require_outcomes(first), require_outcomes(second)
    # Data without a digest are known by their name and their targets alone.
    facts = ("split", "digest") if one.origin.digest and other.origin.digest else ("split", "dataset")
    return (
        all(getattr(one.origin, fact) == getattr(other.origin, fact) for fact in facts)
        and one.class_names == other.class_names
        and numpy.array_equal(one.arrays["targets"], other.arrays["targets"])
    )


def _compare_files(results: Sequence[Result]) -> tuple[Pair, ...]:
    # One product of matrices counts all pairs at once. Its sums of zeros and ones are exact in float64.
    correct = numpy.stack([require_outcomes(result).hits for result in results]).astype(numpy.float64)
    alone = (correct @ (1 - correct).T).astype(int).tolist()
    found = [(i, j, alone[i][j], alone[j][i]) for i, j in combinations(range(len(results)), 2)]
    values = [mcnemar_p(gained, lost) for *_, gained, lost in found]
    return tuple(
        Pair(first=results[i].name, second=results[j].name, gained=gained, lost=lost, p=p, adjusted_p=adjusted)
        for (i, j, gained, lost), p, adjusted in zip(found, values, holm_adjust(values), strict=True)
    )
