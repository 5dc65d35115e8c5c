"""Scores: what a recipe expects of a run, beside what the run came to."""

from __future__ import annotations

from dataclasses import dataclass

EXACT, WITHIN, OFF = "exact", "within tolerance", "off"


@dataclass(frozen=True, kw_only=True)
class ExpectedScore:
    """A score that a recipe expects of a run.

    Fields:
        name: What it is called: a metric, or `loss`.
        expected: What the recipe says.
        got: What the run came to, None where it has no such score.
        tolerance: How far it may be off.
        verdict: `exact`, `within tolerance` or `off`.
    """

    name: str
    expected: float
    got: float | None
    tolerance: float
    verdict: str
