"""Certificates: the verdict of the checks on a plugin, kept in ZOO_HOME, and whether it still holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from zoo.display import make_table, say
from zoo.limits import MAX_KEPT
from zoo.registry.plugins import Plugin
from zoo.storage.files import FileState, describe_failure, digest, make_folder, write_file
from zoo.storage.folders import zoo_home
from zoo.storage.reading import read_file
from zoo.version import __version__

FORMAT = 1
FIX = "Choose another place with ZOO_HOME."
Verdict = Literal["certified", "refused", "incomplete"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Certificate:
    """What the checks say of a plugin.

    Fields:
        plugin: Its name.
        version: Its version, "" for a file.
        source: The file or module it was read from.
        zoo: The version of zoo that checked it.
        versions: The versions of torch and python that took part.
        date: When, ISO 8601 with the time zone.
        verdict: `certified`; `refused`, when a check failed; `incomplete`, when a check could not be made here.
        whole: Whether all its entries were checked; only then is the verdict that of the plugin.
        findings: What each check found, by `"kind name"`; the checks of the plugin itself under `"plugin"`.
        files: The plugin's files that took part, as they were then.
    """

    plugin: str
    version: str
    source: str
    zoo: str
    versions: Mapping[str, str]
    date: str
    verdict: Verdict
    whole: bool
    findings: Mapping[str, Sequence[Finding]]
    files: Sequence[FileState] = field(default=(), repr=False)

    @property
    def holds(self) -> bool:
        """Whether this zoo made it and the plugin's files have not changed since."""
        return self.zoo == __version__ and all(file.is_current for file in self.files)

    def list_findings(self, *statuses: str) -> list[tuple[str, Finding]]:
        """Return what was found with one of these statuses, with the entry."""
        return [(entry, found) for entry, many in self.findings.items() for found in many if found.status in statuses]

    def __repr__(self) -> str:
        failed = [f"{entry}: {found.check}" for entry, found in self.list_findings("failed")]
        count = sum(map(len, self.findings.values()))
        told = f"failed {', '.join(failed)}" if failed else f"{count} checks"
        return say("Certificate", f"{self.plugin} {self.version}".strip(), self.verdict, told)

    def _repr_html_(self) -> str:
        rows = [
            (entry, found.check, found.status, found.seen, found.fix)
            for entry, findings in self.findings.items()
            for found in findings
            if found.status in ("failed", "warning", "untried")
        ]
        return make_table(rows, ("entry", "check", "status", "seen", "fix"), caption=repr(self))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        files = [[file.path, None if file.size is None else [file.modified, file.size]] for file in self.files]
        return {"format": FORMAT, **asdict(self), "files": files}


def decide(findings: Mapping[str, Sequence[Finding]]) -> Verdict:
    """Return the verdict on what was found."""
    statuses = {found.status for many in findings.values() for found in many}
    return "refused" if "failed" in statuses else "incomplete" if "untried" in statuses else "certified"


def find_source(plugin: Plugin) -> str:
    """Return the file or module of a plugin, as certificates name it."""
    return str(plugin.source) if isinstance(plugin.source, str | Path) else plugin.origin


def save_certificate(certificate: Certificate) -> Path:
    """Keep a certificate in ZOO_HOME, in place of an older one of its plugin and source, or raise StorageError."""
    path = _find_path(certificate.plugin, certificate.source)
    try:
        make_folder(path.parent)
    except OSError as error:
        raise describe_failure(f"cannot make the folder {path.parent}", error, path.parent, FIX) from error
    write_file(path, json.dumps(certificate.to_dict(), indent=1).encode(), what="a certificate", fix=FIX)
    return path


def read_certificate(plugin: str, source: str) -> Certificate | None:
    """Return the certificate of a plugin, or None when there is none that can be read."""
    try:
        data = json.loads(read_file(_find_path(plugin, source), MAX_KEPT))
        if data.pop("format") != FORMAT:
            return None
        findings = {entry: [Finding(**found) for found in many] for entry, many in data["findings"].items()}
        files = [FileState(path, *(state or ())) for path, state in data["files"]]
        return Certificate(**{**data, "findings": findings, "files": files})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):  # also missing or damaged
        return None


def _find_path(plugin: str, source: str) -> Path:
    return zoo_home() / "certificates" / f"{plugin}-{digest(source)[:16]}.json"


Status = Literal["passed", "warning", "failed", "skipped", "untried"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found.

    Fields:
        check: Its name; docs/guide/checks.md lists them.
        status: `passed`; `warning`, which refuses nothing; `failed`; `skipped`, where there is nothing to check;
            `untried`, where it could not be made, for the reason in `seen`.
        seen: What was seen, with numbers.
        why: Why it matters, and which tolerance applies.
        fix: What to change.
        where: `file:line` of the plugin's source, "" where it is not known.
    """

    check: str
    status: Status
    seen: str
    why: str = ""
    fix: str = ""
    where: str = ""
