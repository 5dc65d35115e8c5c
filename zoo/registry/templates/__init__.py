"""Templates: the texts of a new plugin that works as it is, and the function that writes them.

Nothing here imports what it writes: a plugin is text until somebody runs it.
"""

from __future__ import annotations

import keyword
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from zoo.errors import SettingError, StorageError, UsageError, quote
from zoo.registry.arguments import checked
from zoo.registry.fields import check_name
from zoo.registry.imports import FOUNDATION
from zoo.registry.manifest import first_party_path, read_manifest
from zoo.registry.templates import dataset, loss, metric, model, package
from zoo.storage import files as storage

TEXTS = {"model": model, "dataset": dataset, "metric": metric, "loss": loss}
ELSEWHERE = "Use output=... for another place"
# A module of a plugin must not have these names: Python would import it in the place of the real one.
TAKEN = FOUNDATION | sys.stdlib_module_names


@dataclass(frozen=True, kw_only=True)
class NewPlugin:
    """What was written: a folder or file, the relative paths of the files in it, and the commands to run next.

    `notes` say what somebody should look at.
    """

    path: Path
    files: tuple[str, ...]
    commands: tuple[str, ...]
    notes: tuple[str, ...] = ()


@checked
def plugin_new(
    name: str | None = None,
    kind: str | None = None,
    *,
    source: str | os.PathLike[str] | None = None,
    single_file: bool = False,
    output: str | os.PathLike[str] | None = None,
) -> NewPlugin:
    """Write a new plugin that provides one model, data set, metric or loss called `name`, and return what was written.

    A package becomes the folder `zoo-NAME`, a single file `NAME.py`; `output` is another path for it. Nothing that
    exists is touched, and a write that fails or is stopped leaves nothing under that path.

    With `source`, a plugin file, the package provides what that declares, with what it imports from beside it; it is
    called after the file where no `name` is given. The file runs as `plugins=[...]` runs it, and stays as it is.

    Raises:
        UsageError: the name cannot name a plugin, or is taken; the path exists, or cannot be imported; the source
            cannot be made a package.
        PluginError: the source does not work, or declares what nobody could find in a package.
        StorageError: the path cannot be written.
    """
    if source is not None:
        from zoo.registry.templates.existing import write_package

        if kind or single_file:
            raise UsageError("a plugin file says what it provides", fix="Leave kind=... and single_file=True out")
        return write_package(source, name, output=output)
    if name is None or kind not in TEXTS:
        field, expected = ("name", "expected a name") if name is None else ("kind", f"expected {' or '.join(TEXTS)}")
        raise SettingError(field, expected, name if name is None else kind)
    words = _choose_words(name, kind)
    if single_file:
        target = Path(output) if output is not None else Path(f"{words['module']}.py")
        _check_file(target)
        texts = {target.name: _fill_module(kind, words, single_file=True)}
    else:
        target = choose_folder(words, output)
        texts = _fill_package(kind, words)
    files = {path: text.encode() for path, text in texts.items()}
    check_target(target)
    write_files(target, files, single_file=single_file)
    alone = f"zoo run --plugin {shlex.quote(target.as_posix())} {words['options']}"
    commands = (alone,) if single_file else list_commands(target, f"zoo run {words['options']}")
    return NewPlugin(path=target, files=tuple(files), commands=commands)


def choose_names(name: str) -> dict[str, str]:
    """Return a name in the spelling that each place of a package needs; raise UsageError where it cannot name one."""
    try:
        bare = check_name(re.sub("^zoo[-_.]+", "", check_name(name)))
        project = check_name("zoo-" + re.sub("[-_.]+", "-", bare))
    except ValueError as error:
        near = re.sub("[^a-z0-9]+", "-", name.lower())[:40].strip("-")
        raise UsageError(str(error), fix=f"Did you mean {quote(near)}?" if near not in ("", name) else "") from None
    return {"name": bare, "project": project, "package": project.replace("-", "_")}


def choose_folder(words: Mapping[str, str], output: str | os.PathLike[str] | None) -> Path:
    """Return the folder of a new package; raise UsageError where its name is zoo's own."""
    if words["project"] == "zoo-torch" or words["package"] in TAKEN:
        raise UsageError(f"name: {quote(words['project'])} is zoo's own", fix="Choose another name")
    return Path(output) if output is not None else Path(words["project"])


def check_target(target: Path) -> None:
    """Raise UsageError where something is at the path of a new plugin, and StorageError where it cannot be written."""
    if os.path.lexists(target):
        raise UsageError(f"{quote(target)} exists", "nothing is overwritten", ELSEWHERE)
    storage.check_writable(target.parent, fix=ELSEWHERE)


def _choose_words(name: str, kind: str) -> dict[str, str]:
    """Return the words that the texts are filled with."""
    names = choose_names(name)
    bare, package_name = names["name"], names["package"]
    own = [spec for spec in read_manifest(first_party_path()).specs if spec.kind == kind]
    if any(bare in (spec.name, *spec.aliases) for spec in own):
        raise UsageError(
            f"name: zoo itself has a {kind} called {quote(bare)}", "zoo's own win a bare name", "Choose another name"
        )
    return {
        **names,
        "key": quote(bare) if "." in bare else bare,  # a dot would split a key of TOML
        "module": re.sub("[-.]", "_", bare),
        "kind": kind,
        "noun": TEXTS[kind].NOUN,
        "object": TEXTS[kind].OBJECT,
        "promise": TEXTS[kind].PROMISE,
        "constants": TEXTS[kind].CONSTANTS,
        "options": TEXTS[kind].OPTIONS.format(bare),
        "summary": f"A {TEXTS[kind].NOUN} for zoo",
        "dependencies": package.OWN,
        "found": "it reads that manifest, and imports nothing until something in it is used",
        "point": f"{package_name}:registry.toml",
    }


def _check_file(path: Path) -> None:
    """Refuse a file that Python could not import, or would import in the place of another module."""
    module = path.stem
    if path.suffix != ".py" or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", module) or keyword.iskeyword(module):
        why = "expected a module that Python can import, like my_model.py"
        raise UsageError(f"file {quote(path.name)}", why, "Give one with output=...")
    if module in TAKEN:
        raise UsageError(f"file {quote(path.name)}", f"it would hide the module {quote(module)}", ELSEWHERE)


def _fill_module(kind: str, words: Mapping[str, str], *, single_file: bool) -> str:
    """Return the text of the module; a single file declares itself with a decorator, a package with a manifest."""
    declared = {
        "decorator": Template(TEXTS[kind].DECORATOR).substitute(words) if single_file else "",
        "zoo": "import zoo\n" if single_file or kind == "dataset" else "",
    }
    return Template(TEXTS[kind].CODE).substitute({**words, **declared})


def _fill_package(kind: str, words: Mapping[str, str]) -> dict[str, str]:
    """Return the files of a package by their relative paths."""
    folder = words["package"]
    texts = {
        "README.md": package.README,
        "pyproject.toml": package.PROJECT,
        f"tests/test_{words['module']}.py": package.TESTS + TEXTS[kind].TESTS,
        f"{folder}/__init__.py": package.INIT,
        f"{folder}/registry.toml": TEXTS[kind].MANIFEST,
    }
    filled = {path: Template(text).substitute(words) for path, text in texts.items()}
    return {**filled, f"{folder}/{kind}.py": _fill_module(kind, words, single_file=False)}


def write_files(target: Path, files: Mapping[str, bytes], *, single_file: bool = False) -> None:
    """Write a new plugin, whole or not at all; raise StorageError where it cannot be written."""
    try:
        if single_file:
            storage.write_file(target, files[target.name], what="the plugin")
        else:
            _write_folder(target, files)
    except StorageError as error:
        fix = error.fix.replace(storage.ELSEWHERE, f"{ELSEWHERE}.")
        raise StorageError(f"cannot write {target}", error.why, fix) from error


def _write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Write all files into a hidden folder beside the target and rename it, so that the target appears whole or not."""
    for stale in storage.find_stale_parts(target.parent):
        shutil.rmtree(stale, ignore_errors=True)  # what is a file is left to the writer of files
    part = storage.name_part(target)
    try:
        for path, data in files.items():
            (part / path).parent.mkdir(parents=True, exist_ok=True)
            storage.write_file(part / path, data, what="the plugin")
        part.rename(target)
        storage.sync_folder(target.parent)
    except OSError as error:
        raise StorageError("", error.strerror or str(error), ELSEWHERE) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def list_commands(target: Path, run: str) -> tuple[str, ...]:
    """Return the commands that install, run and test a package, from the current folder."""
    here = target.as_posix() if target.is_absolute() else f"./{target.as_posix()}"
    install = f"pip install -e {shlex.quote(f'{here}[test]')}"
    return (install, run, f"python -m pytest {shlex.quote(here)}")
