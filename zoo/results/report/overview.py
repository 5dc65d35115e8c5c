"""Overview: what a page of results begins with, where they are all of one study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A table and what is to be said of it.

    Fields:
        title: Of the page.
        rows: Of the table, the heading first.
        remarks: Sentences below it.
    """

    title: str
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()
