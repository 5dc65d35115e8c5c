"""The fixture that zoo brings for pytest: `zoo_registry`. pytest finds it by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from zoo.registry.entries import Registry
    from zoo.registry.specs import AnySpec


@pytest.fixture
def zoo_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Registry]:
    """Return a function that makes a registry of zoo's own entries and of what it is given: paths or specs.

    What is installed and the environment's plugins are not looked at. Runs, caches and downloads of the test go to a
    temporary folder; only ZOO_DATA_DIR stays as it is.
    """
    for name in ("ZOO_PLUGINS", "ZOO_DISABLE_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "zoo-home"))
    monkeypatch.setenv("ZOO_RUNS_DIR", str(tmp_path / "zoo-runs"))

    def make(*given: str | Path | AnySpec) -> Registry:
        from zoo.registry.entries import Registry

        paths = [thing for thing in given if isinstance(thing, str | Path)]
        specs = [thing for thing in given if not isinstance(thing, str | Path)]
        registry = Registry.discover(paths, disabled=["all"])
        if specs:
            registry.add(*specs)
        return registry

    return make
