"""Display: a value as a person sees it, as one line in a program and as a table or pictures in a notebook.

What is foreign in it, the name of a class say, keeps to its line and is escaped in HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from zoo.errors import one_line, shorten

_LEFT = ' style="text-align:left;white-space:nowrap"'
SHOWN_ROWS = 20
"""Rows of a table of predictions or results in a notebook; more are counted."""


def say(name: str, *facts: object, **values: object) -> str:
    """Return a value on one line, `Name(fact, key=value)`; what is None or empty text is left out."""
    named = [f"{key}={value}" for key, value in values.items() if value is not None]
    told = [str(fact) for fact in facts if fact not in (None, "")]
    return f"{name}({', '.join(one_line(shorten(part)) for part in [*told, *named])})"


def say_scores(scores: Mapping[str, float | None]) -> str:
    """Return scores on one line, the loss last: `accuracy 0.8341, loss 0.4769`."""
    ordered = sorted(scores.items(), key=lambda score: score[0] == "loss")
    return ", ".join(f"{name} {'-' if value is None else format(value, '.4f')}" for name, value in ordered)


def say_device(device: str, threads: int | None, settings: Mapping[str, object]) -> str:
    """Return where and how something was computed: `cpu, 2 threads, channels last, compiled`."""
    told = [device, "" if not threads else f"{threads} thread{'' if threads == 1 else 's'}"]
    told += ["channels last" if settings.get("memory_format") == "channels_last" else ""]
    return ", ".join(filter(None, [*told, "compiled" if settings.get("compile") is True else ""]))


def align(rows: Iterable[Sequence[object]], indent: str = "") -> str:
    """Return rows of cells as lines of columns."""
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def make_table(
    rows: Iterable[Sequence[object]], heading: Sequence[object] = (), *, caption: str = "", most: int = SHOWN_ROWS
) -> str:
    """Return rows of cells as a table of HTML; of a long one the first rows, and how many there are."""
    cells = list(rows)
    head = f"<thead><tr>{_join('th', heading)}</tr></thead>" if heading else ""
    body = "".join(f"<tr>{_join('td', row)}</tr>" for row in cells[:most])
    more = f"<p>{len(cells):,} rows, the first {most} are shown</p>" if len(cells) > most else ""
    title = f"<caption{_LEFT}>{_escape(one_line(caption))}</caption>" if caption else ""
    return f"<table>{title}{head}<tbody>{body}</tbody></table>{more}"


def make_pictures(pictures: Iterable[tuple[str, str]], *, caption: str = "") -> str:
    """Return pictures, each an address and the text under it, side by side as HTML."""
    cells = "".join(
        '<div style="display:inline-block;margin:4px;text-align:center;vertical-align:top">'
        f'<img src="{_escape(address)}" style="width:84px;image-rendering:pixelated" alt=""/>'
        f'<br/><small style="display:inline-block;max-width:96px">{_escape(one_line(shorten(text, 60)))}</small></div>'
        for address, text in pictures
    )
    return f"<div>{f'<p>{_escape(one_line(caption))}</p>' if caption else ''}{cells}</div>"


def _join(tag: str, cells: Sequence[object]) -> str:
    return "".join(f"<{tag}{_LEFT}>{_escape(one_line(shorten(str(cell))))}</{tag}>" for cell in cells)


def _escape(text: str) -> str:
    from html import escape  # its table of names takes long to import, and most programs show no HTML

    return escape(text)
