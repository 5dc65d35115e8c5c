"""Isolation: a plugin is checked in a process of its own, so that its verdict survives whatever it does there."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.checks.plugin import PLUGIN_CHECKS, examine, issue_certificate, list_files
from zoo.checks.targets import find_target, is_path
from zoo.errors import UsageError, ZooError
from zoo.registry.certificates import Certificate, Finding, save_certificate
from zoo.storage import folders
from zoo.storage.processes import describe_end, kill, open_channel, start_module

TIME_LIMIT = 300.0
"""Seconds that one check may take; of a model of 100 million parameters the slowest takes a tenth of that."""

Report = Callable[[str, Finding], None]


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
    done: list[str] = []
    files: list[tuple[str, list[int] | None]] = []
    asked = {
        "target": str(Path(target).expanduser().absolute()) if is_path(target) else str(target),
        "plugins": [str(Path(path).expanduser().absolute()) for path in plugins],
        "data_dir": str(folders.data_dir(data_dir).absolute()),
        "offline": folders.offline(offline),
    }

    def take(entry: str, finding: Finding) -> None:
        findings.setdefault(entry, []).append(finding)
        on_finding(entry, finding)

    while True:
        ended = _run_child({**asked, "done": done}, take, time_limit)
        files = ended.get("files", files)
        if "failure" not in ended:
            break
        entry, check = ended["entry"], ended["check"]
        why = "A plugin that ends or blocks the process takes the work of others with it."
        take(entry, Finding(check=check, status="failed", seen=ended["failure"], why=why, fix=ended["fix"]))
        done = [*findings]
        if entry == "plugin":
            break
    if pattern and not any(entry != "plugin" for entry in findings):
        raise UsageError(f"plugin {parts[0].name!r} has no entry {pattern!r}", fix=f"See: zoo plugins {parts[0].name}")
    certificate = issue_certificate(parts, findings, files, whole=not pattern)
    if certificate.whole:
        save_certificate(certificate)
    return certificate


def _run_child(asked: dict[str, Any], take: Report, time_limit: float) -> dict[str, Any]:
    """Run the checks in another process; return its last words, or which check it ended in and how."""
    process = start_module("zoo.checks.isolation", json.dumps(asked), stdout=subprocess.PIPE, encoding="utf-8")
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    reader = threading.Thread(target=_read_lines, args=(process, lines), daemon=True)
    reader.start()
    entry, check = "plugin", next(iter(PLUGIN_CHECKS))
    try:
        while True:
            try:
                line = lines.get(timeout=time_limit)
            except queue.Empty:
                failure = f"it took more than {time_limit:g} s"
                fix = "Look for an endless loop, or allow more with --time-limit"
                return {"entry": entry, "check": check, "failure": failure, "fix": fix}
            if not line:
                failure = f"it ended the process ({describe_end(process.wait())})"
                fix = "Raise errors, and never end the process"
                return {"entry": entry, "check": check, "failure": failure, "fix": fix}
            event = json.loads(line)
            if "files" in event:
                return dict(event)
            if "start" in event:
                entry, check = event["start"]
            else:
                take(event["entry"], Finding(**event["finding"]))
    finally:
        kill(process)
        reader.join()
        if process.stdout is not None:
            process.stdout.close()


def _read_lines(process: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    """Hand on each line, and an empty one at the end."""
    with suppress(OSError, ValueError):
        for line in process.stdout or ():
            lines.put(line)
    lines.put("")


def main(text: str) -> None:
    """Check a plugin and write what is found to stdout, a JSON object a line; nothing the plugin prints gets there."""
    asked = json.loads(text)
    channel = open_channel()

    def write(event: dict[str, Any]) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    registry, parts, pattern = find_target(asked["target"], asked["plugins"])
    options = {"data_dir": Path(asked["data_dir"]), "offline": asked["offline"], "done": asked["done"]}
    for plugin in parts:
        found = examine(
            registry, plugin, pattern, **options, on_start=lambda entry, check: write({"start": [entry, check]})
        )
        for entry, finding in found:
            write({"entry": entry, "finding": finding.to_dict()})
    try:
        files = list_files(parts, registry)
    except ZooError:  # a broken plugin has none
        files = []
    write({"files": files})
    channel.close()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
