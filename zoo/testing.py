"""Testing: the kit for authors of plugins. What `zoo plugin test` checks, as functions for tests of one's own.

    from zoo.testing import check_plugin

    def test_certificate():
        check_plugin("my_package/registry.toml")

Nothing here looks at what else is installed. The pytest fixture `zoo_registry` is in `zoo.pytest_plugin`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.registry.certificates import Certificate, Finding
from zoo.registry.entries import Registry
from zoo.registry.specs import AnySpec, DatasetSpec, MetricSpec, ModelSpec
from zoo.storage import folders

Findings = Mapping[str, Sequence[Finding]]


class CheckError(AssertionError):
    """Checks have failed; `findings` has all of them, by entry."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        super().__init__(_describe(findings))


def check_plugin(
    target: str | Path, *, data_dir: str | Path | None = None, offline: bool = True, strict: bool = False
) -> Certificate:
    """Check every entry of a plugin in this process; return its certificate.

    `target` is the path of a manifest or Python file, read beside zoo's own entries only; or the name of an installed
    plugin. Files of data sets must be in `data_dir`, unless `offline=False` lets them be fetched. With `strict` a
    warning fails as well.

    Raises:
        CheckError: a check failed, or could not be made.
        UnknownNameError, UsageError: there is no such plugin or file.
    """
    from zoo.checks import plugin

    certificate = plugin.check_plugin(target, data_dir=data_dir, offline=offline)
    _raise_failed(certificate.findings, strict)
    return certificate


def check_model(factory: Callable[..., Any], *, strict: bool = False, **fields: Any) -> list[Finding]:
    """Check a model factory or class; `fields` are those of `ModelSpec`. Return what was found.

    Raises:
        CheckError: a check failed, or could not be made.
    """
    return _check(ModelSpec(**{"name": "model", **fields, "factory": factory}), None, strict)


def check_dataset(
    factory: Callable[..., Any], *, root: str | Path | None = None, strict: bool = False, **fields: Any
) -> list[Finding]:
    """Check a data set factory on the files under `root`; `fields` are those of `DatasetSpec`. Return what was found.

    Raises:
        CheckError: a check failed, or could not be made.
    """
    return _check(DatasetSpec(**{"name": "dataset", **fields, "factory": factory}), root, strict)


def check_metric(factory: Callable[..., Any], *, strict: bool = False, **fields: Any) -> list[Finding]:
    """Check a metric factory or class; `fields` are those of `MetricSpec`. Return what was found.

    Raises:
        CheckError: a check failed, or could not be made.
    """
    return _check(MetricSpec(**{"name": "metric", **fields, "factory": factory}), None, strict)


def _check(spec: AnySpec, root: str | Path | None, strict: bool) -> list[Finding]:
    from zoo.checks.plugin import examine

    registry = Registry()
    registry.add(spec, plugin="tested")
    found: dict[str, list[Finding]] = {}
    options: Any = {"data_dir": folders.data_dir(root), "offline": True, "done": ("plugin",)}
    for entry, finding in examine(registry, registry.plugins[0], **options):
        found.setdefault(entry, []).append(finding)
    _raise_failed(found, strict)
    return [finding for many in found.values() for finding in many]


def _raise_failed(findings: Findings, strict: bool) -> None:
    refused = ("failed", "untried", "warning") if strict else ("failed", "untried")
    bad = {entry: [found for found in many if found.status in refused] for entry, many in findings.items()}
    if any(bad.values()):
        raise CheckError({entry: many for entry, many in bad.items() if many})


def _describe(findings: Findings) -> str:
    lines = []
    for entry, many in findings.items():
        for found in many:
            lines.append(f"{entry}: {found.check} {found.status}: {found.seen}")
            parts = (("why", found.why), ("fix", found.fix), ("at", found.where))
            lines += [f"  {label}: {text}" for label, text in parts if text]
    return "\n".join(lines)
