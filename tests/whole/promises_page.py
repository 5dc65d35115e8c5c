"""The made part of docs/reference/promises.md: each promise with the tests that prove it."""

from __future__ import annotations

import re
from itertools import groupby

from promises import PROMISES, find_proofs


def make_promises_page() -> str:
    """Return a table of the promises, and of each what it means and which tests prove it; none without a test."""
    proofs = find_proofs()
    rows = ["| | promise | tests |", "|---|---|---|"]
    parts = []
    for name, promise in PROMISES.items():
        tests = proofs[name]
        if not tests:
            raise ValueError(f"{name}, {promise.title}: no test proves it, so it cannot be promised")
        anchor = re.sub(r"[^a-z0-9-]", "", promise.title.lower().replace(" ", "-"))
        rows.append(f"| {name} | [{promise.title}](#{anchor}) | {len(tests)} |")
        parts.append(f"## {promise.title}\n\n{promise.meaning}\n")
        parts.append(f"{name}, proved by {len(tests)} test{'s' if len(tests) > 1 else ''}:\n")
        for file, listed in groupby(tests, lambda test: test.partition("::")[0]):
            shown = ", ".join(f"`{test.partition('::')[2].removeprefix('test_')}`" for test in listed)
            parts.append(f"- `{file}`: {shown}")
        parts.append("")
    return "\n".join([*rows, "", *parts])
