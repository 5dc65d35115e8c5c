"""Isolation: a plugin is checked in a process of its own, so that its verdict survives whatever it does there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zoo.checks.plugin import PLUGIN_CHECKS, examine, issue_certificate, list_files
from zoo.checks.targets import find_target, is_path
from zoo.errors import UsageError, ZooError
from zoo.registry.arguments import checked
from zoo.registry.certificates import Certificate, Finding, save_certificate
from zoo.storage import folders
from zoo.storage.files import FileState
from zoo.storage.processes import Process, Write

TIME_LIMIT = 300.0
"""Seconds that one check may take; the slowest takes a tenth of that for a model of 100 million parameters."""

START = 60.0
"""Seconds in which the process of the checks may start, and torch with it, before the first of them."""

Report = Callable[[str, Finding], None]


@checked
def certify(
    target: str | Path,
    *,
    data_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path] = (),
    time_limit: float = TIME_LIMIT,
    on_finding: Report = lambda entry, finding: None,
) -> Certificate:
    """Check every entry of a plugin in a process of its own, and keep the certificate for `zoo plugins`.

    `target` is the name of an installed plugin, `name/pattern` for some of its entries (nothing is kept then), or the
    path of a Python file or manifest, which is checked beside zoo's own entries only. Files of data sets are fetched
    into `data_dir` as in a run. A check may take `time_limit` seconds.

    Raises:
        UnknownNameError, UsageError: there is no such plugin, file or entry.
        StorageError: the certificate cannot be written.
    """
    _, parts, pattern = find_target(target, plugins)
    findings: dict[str, list[Finding]] = {}
    question = {
        "target": str(Path(target).expanduser().absolute()) if is_path(target) else str(target),
        "plugins": [str(Path(path).expanduser().absolute()) for path in plugins],
        "data_dir": str(folders.data_dir(data_dir).absolute()),
        "offline": folders.offline(offline),
    }

    def keep(entry: str, finding: Finding) -> None:
        findings.setdefault(entry, []).append(finding)
        on_finding(entry, finding)

    files = None
    while files is None:
        files = _examine_elsewhere({**question, "done": [*findings]}, keep, time_limit)
    if pattern and not any(entry != "plugin" for entry in findings):
        raise UsageError(f"plugin {parts[0].name!r} has no entry {pattern!r}", fix=f"See: zoo plugins {parts[0].name}")
    certificate = issue_certificate(parts, findings, files, whole=not pattern)
    if certificate.whole:
        save_certificate(certificate)
    return certificate


plugin_test = certify
"""`certify` under the name of its command, `zoo plugin test`."""


def _examine_elsewhere(question: dict[str, Any], keep: Report, time_limit: float) -> list[FileState] | None:
    """Return the plugin files that took part, or None where an entry ended the process and others may be left."""
    entry, check, limit = "plugin", next(iter(PLUGIN_CHECKS)), max(time_limit, START)
    with closing(Process(_examine_here)) as process:
        process.send(question)
        try:
            while "files" not in (event := process.receive(limit)):
                limit = time_limit
                if "start" in event:
                    entry, check = event["start"]
                else:
                    keep(event["entry"], Finding(**event["finding"]))
            return [FileState(**file) for file in event["files"]]
        except TimeoutError as error:
            seen, fix = str(error), "Look for an endless loop, or allow more with time_limit=..."
        except EOFError as error:
            seen, fix = str(error), "Raise errors, and never end the process"
    why = "A plugin that ends or blocks the process takes the work of others with it."
    keep(entry, Finding(check=check, status="failed", seen=seen, why=why, fix=fix))
    return [] if entry == "plugin" else None


def _examine_here(question: dict[str, Any], write: Write) -> None:
    """Check a plugin: write what each check is before it starts, what it found, and at the end the plugin's files."""
    registry, parts, pattern = find_target(question["target"], question["plugins"])
    for plugin in parts:
        found = examine(
            registry,
            plugin,
            pattern,
            data_dir=Path(question["data_dir"]),
            offline=question["offline"],
            done=question["done"],
            on_start=lambda entry, check: write({"start": [entry, check]}),
        )
        for entry, finding in found:
            write({"entry": entry, "finding": asdict(finding)})
    try:
        files = list_files(parts, registry)
    except ZooError:  # a broken plugin has none
        files = []
    write({"files": [asdict(file) for file in files]})
