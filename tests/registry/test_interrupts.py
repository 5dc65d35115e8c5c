"""Ctrl-C ends what a user waits for; code of a plugin that happened to run then is not to blame."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from conftest import Packages

import zoo
from zoo.checks.base import run_checks
from zoo.registry.entries import Registry
from zoo.registry.factories import call_factory, load_factory
from zoo.registry.loading import load_specs
from zoo.registry.plugins import Plugin

HOOKS = {
    "when it is imported": "raise KeyboardInterrupt",
    "in a hook": """
        import zoo

        @zoo.hookimpl
        def zoo_models():
            raise KeyboardInterrupt
    """,
    "between two specs": """
        import zoo

        @zoo.hookimpl
        def zoo_models():
            yield zoo.ModelSpec(name="net", factory="nothing:Net")
            raise KeyboardInterrupt
    """,
    "when its hooks are looked for": """
        class Provider:
            def __getattr__(self, name):
                raise KeyboardInterrupt

            def __dir__(self):
                raise KeyboardInterrupt

        import sys
        sys.modules[__name__] = Provider()
    """,
}


def write(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


@pytest.mark.parametrize("when", HOOKS)
def test_an_interrupt_while_a_plugin_is_read_is_not_its_fault(when: str, packages: Packages) -> None:
    packages.write("acme_hooks.py", HOOKS[when])
    plugin = Plugin("acme", "1.0", "installed", "acme_hooks", installed=True)
    with pytest.raises(KeyboardInterrupt):
        load_specs(plugin)
    assert plugin.problem is None, "the next command finds it as it was"


def test_an_interrupt_while_a_file_is_read_is_not_its_fault(tmp_path: Path) -> None:
    plugin = Plugin("mine", "", "a file", write(tmp_path / "mine.py", HOOKS["in a hook"]))
    with pytest.raises(KeyboardInterrupt):
        load_specs(plugin)
    assert plugin.problem is None


def test_an_interrupt_in_a_factory_is_not_its_fault(packages: Packages) -> None:
    packages.write("acme_models.py", "raise KeyboardInterrupt")

    def stop(**_: object) -> None:
        raise KeyboardInterrupt

    registry = Registry()
    registry.add(zoo.ModelSpec(name="far", factory="acme_models:Net"))
    registry.add(zoo.ModelSpec(name="near", factory=stop))
    with pytest.raises(KeyboardInterrupt):
        load_factory(registry.get("model", "far"))
    with pytest.raises(KeyboardInterrupt):
        call_factory(registry.get("model", "near"))


def test_an_interrupt_in_a_check_ends_the_checks() -> None:
    def stop(subject: object) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_checks({"stops": stop}, None))
