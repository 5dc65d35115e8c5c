"""`zoo plugin new` starts a plugin that works before anything in it is changed; `zoo plugin test` gives its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from zoo.cli.command import Group
from zoo.cli.findings import write_findings
from zoo.cli.options import output_options, place_options
from zoo.cli.output import escape, write_json, write_note, write_result
from zoo.cli.torch_import import prepare_for_torch
from zoo.errors import DownloadError, PluginError

if TYPE_CHECKING:
    from zoo.registry.certificates import Certificate, Finding

KINDS = ["model", "dataset", "metric", "loss"]
"""The kinds that there is a template for."""


@click.group("plugin", cls=Group, no_args_is_help=False)
def plugin_command() -> None:
    """Start a plugin of your own, and test one."""


@plugin_command.command("new")
@click.argument("name", required=False)
@click.option("--kind", type=click.Choice(KINDS), metavar="KIND", help=f"What it provides: {', '.join(KINDS)}.")
@click.option("--from", "source", metavar="FILE", help="Make a package of a plugin file and what it imports beside it.")
@click.option("--single-file", is_flag=True, help="Write one file for --plugin, not a package.")
@click.option("--output", metavar="PATH", help="The folder or file to write.  [zoo-NAME, or NAME.py]")
@output_options
def new_command(
    name: str | None, kind: str | None, source: str | None, single_file: bool, output: str | None, as_json: bool
) -> None:
    """Write a plugin that works as it is: a package to install, or one file.

    It provides one model, data set, metric or loss called NAME that runs at once. Change it from there. With --from it
    provides what a plugin file declares, and is called after the file where no NAME is given.
    """
    from zoo.registry.templates import plugin_new

    if source is None and name is None:
        raise click.MissingParameter(param_hint="'NAME'", param_type="argument")
    if source is None and kind is None:
        raise click.UsageError(f"Missing option '--kind'. Choose from: {', '.join(KINDS)}.")
    written = plugin_new(name, kind, source=source, single_file=single_file, output=output)
    for note in written.notes:
        write_note(f"Warning: {note}")
    path = written.path.as_posix()
    if as_json:
        write_json({"path": path, "files": list(written.files), "next": list(written.commands)})
        return
    files = [] if single_file else [f"  {file}" for file in written.files]
    write_result("\n".join([f"wrote {path}", *files, "next", *(f"  {command}" for command in written.commands)]))


@plugin_command.command("test")
@click.argument("target", metavar="NAME|PATH")
@place_options("data_dir", "offline")
@click.option("--plugin", "plugins", multiple=True, metavar="PATH", help="A plugin file that NAME may mean.")
@click.option(
    "--time-limit", type=click.FloatRange(min=1), default=300.0, metavar="S", help="Seconds a check may take.  [300]"
)
@click.option("-v", "--verbose", is_flag=True, help="Show what passed, too.")
@output_options
def test_command(target: str, verbose: bool, as_json: bool, **options: Any) -> None:
    """Check everything a plugin provides, and give it a certificate.

    NAME is a plugin that zoo plugins lists, or NAME/PATTERN for some of its entries; PATH a Python file or manifest.
    Each check says what it saw, why it matters and how to mend it: see docs/guide/checks.md. The plugin runs in a
    process of its own.
    """
    prepare_for_torch()
    from zoo.checks.isolation import certify

    current = ""

    def tell(entry: str, finding: Finding) -> None:
        nonlocal current
        if entry != current and not as_json:
            write_note(f"checking {escape(entry)}")
        current = entry

    certificate = certify(target, on_finding=tell, **options)
    if as_json:
        write_json(certificate.to_dict())
    else:
        _write_certificate(certificate, verbose)
    _raise_refusal(certificate)


def _write_certificate(certificate: Certificate, verbose: bool) -> None:
    for entry, findings in certificate.findings.items():
        write_findings(escape(entry), findings, verbose)
    name = f"{certificate.plugin} {certificate.version}".strip()
    count = sum(map(len, certificate.findings.values()))
    if certificate.verdict == "certified":
        what = "certified" if certificate.whole else "passed, in part: certificates are for whole plugins"
        write_result(f"{name}: {what} ({count} checks, zoo {certificate.zoo}, {certificate.date[:10]})")


def _raise_refusal(certificate: Certificate) -> None:
    """Let what was refused, or could not be checked, decide the exit code."""
    for status, verb in (("failed", "failed"), ("untried", "could not be made")):
        found = certificate.list_findings(status)
        if found:
            names = ", ".join(f"{entry}: {finding.check}" for entry, finding in found[:6])
            total = sum(map(len, certificate.findings.values()))
            what, why = f"certificate {certificate.verdict}", f"{len(found)} of {total} checks {verb}: {names}"
            if status == "failed":
                raise PluginError(certificate.plugin, certificate.version, what, why)
            fix = "Make them where data and memory are there"
            raise DownloadError(f"plugin {certificate.plugin!r}: {what}", why, fix)
