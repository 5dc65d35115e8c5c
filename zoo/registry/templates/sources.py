"""Sources: the Python files that a plugin file is made of, read and rewritten as modules of a package; none is run."""

from __future__ import annotations

import ast
import io
import keyword
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import UsageError, describe
from zoo.registry.imports import find_beside

Edit = tuple[int, int, str]
"""Where some bytes of a text start and end, and what takes their place."""


@dataclass(frozen=True)
class Source:
    """One Python file: where it is in the package, as in `("layers", "conv")`, its text, encoding and syntax."""

    parts: tuple[str, ...]
    text: str
    encoding: str
    tree: ast.Module


@dataclass(frozen=True)
class Sources:
    """A plugin file as the module `main`, the names that are imported from `beside` it, and all `files`, its own first.

    `foreign` are the modules that are imported from elsewhere.
    """

    main: str
    beside: frozenset[str]
    files: tuple[Source, ...]
    foreign: tuple[str, ...]

    def rewrite(self, package: str, texts: Mapping[str, str]) -> dict[str, bytes]:
        """Return the files as those of a package, by their paths in it; what is imported from beside names the package.

        `texts` are strings of the code, whole ones, and what they become.
        """
        written = {}
        for source in self.files:
            edits = [*_edit_imports(source, package, self.beside), *_edit_texts(source, texts)]
            written[f"{'/'.join(source.parts)}.py"] = _apply(source.text, edits).encode(source.encoding)
        return written


def name_module(file: Path) -> str:
    """Return what a plugin file is called as a module: its stem, changed where Python could not import that."""
    name = re.sub(r"\W", "_", file.stem)
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"plugin_{name}"


def read_sources(file: Path, named: Iterable[str] = ()) -> Sources:
    """Read a plugin file with what it imports from beside it, directly or not, and the modules `named` that are there.

    Of a package beside it all Python files are read, whichever are imported.

    Raises:
        UsageError: what is beside it is no Python file, or cannot be read.
    """
    main = name_module(file)
    files = [_read_source(file, (main,))]
    beside, foreign = set[str](), dict[str, None]()
    waiting = [*named, *_list_imported(files[0])]
    while waiting:
        top = waiting.pop(0)
        if top in beside or top in foreign:
            continue
        found = find_beside(file.parent, top, file)
        if found is None:
            foreign[top] = None
            continue
        beside.add(top)
        if found.origin == str(file):
            continue
        if found.submodule_search_locations:
            folder = Path(next(iter(found.submodule_search_locations)))
            read = [
                _read_source(path, (top, *path.relative_to(folder).with_suffix("").parts)) for path in _walk(folder)
            ]
        else:
            read = [_read_source(Path(str(found.origin)), (top,))]
        files += read
        waiting += [name for source in read for name in _list_imported(source)]
    return Sources(main, frozenset(beside), tuple(files), tuple(foreign))


def _walk(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if not any(part.startswith(".") for part in path.parts[-2:]))


def _read_source(file: Path, parts: tuple[str, ...]) -> Source:
    what = f"{file} cannot be made a module of a package"
    if file.suffix != ".py":
        raise UsageError(what, "it is no Python file", "Publish it as a package of its own")
    try:
        data = file.read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
        return Source(parts, text, encoding, ast.parse(text))
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise UsageError(what, describe(error)) from error


def _list_imported(source: Source) -> Iterator[str]:
    """Yield the first part of each name that a file imports, as seen from the folder of the plugin file."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level in (0, len(source.parts)):
            # As many dots as the file is deep lead to the folder itself; fewer stay in a package that is read whole.
            yield from [node.module.partition(".")[0]] if node.module else [alias.name for alias in node.names]


def _edit_imports(source: Source, package: str, beside: frozenset[str]) -> Iterator[Edit]:
    lines = _Lines(source.text)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and not node.level and _is_in(str(node.module), beside):
            start, end = lines.locate(node)
            statement = lines.data[start:end].decode()
            yield start, end, re.sub(r"\A(from[\s\\]+)", rf"\g<1>{package}.", statement)
        elif isinstance(node, ast.Import) and any(_is_in(alias.name, beside) for alias in node.names):
            start, end = lines.locate(node)
            before = lines.data[:start].decode().rpartition("\n")[2]
            between = "; " if before.strip() else f"\n{before}"
            yield start, end, between.join(line for alias in node.names for line in _import(alias, package, beside))


def _is_in(name: str, beside: frozenset[str]) -> bool:
    return name.partition(".")[0] in beside


def _import(alias: ast.alias, package: str, beside: frozenset[str]) -> Iterator[str]:
    """Yield the statements that import a module and bind the same name to it as `import ALIAS` does."""
    ending = f" as {alias.asname}" if alias.asname else ""
    top, dot, _ = alias.name.partition(".")
    if top not in beside:
        yield f"import {alias.name}{ending}"
    elif not dot or alias.asname:
        parent, _, name = f"{package}.{alias.name}".rpartition(".")
        yield f"from {parent} import {name}{ending}"
    else:
        yield f"import {package}.{alias.name}"
        yield f"from {package} import {top}"


def _edit_texts(source: Source, texts: Mapping[str, str]) -> Iterator[Edit]:
    lines = _Lines(source.text)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in texts:
            yield (*lines.locate(node), f'"{texts[node.value]}"')


class _Lines:
    """A text as the bytes that places in its syntax tree count."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self._starts = [0]
        for line in io.StringIO(text, newline=""):
            self._starts.append(self._starts[-1] + len(line.encode()))

    def locate(self, node: ast.stmt | ast.expr) -> tuple[int, int]:
        """Return where a piece of the text starts and ends."""
        first, last = self._starts[node.lineno - 1], self._starts[int(node.end_lineno or node.lineno) - 1]
        return first + node.col_offset, last + int(node.end_col_offset or 0)


def _apply(text: str, edits: Iterable[Edit]) -> str:
    data = text.encode()
    for start, end, new in sorted(edits, reverse=True):
        data = data[:start] + new.encode() + data[end:]
    return data.decode()
