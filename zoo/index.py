"""Index: what an installed plugin in module form provides, without running its code in this process.

Such a plugin says what it has only when it runs. So it runs once, in a process of its own that may end or hang as it
likes; what it gave, or how it failed, is kept until the plugin changes.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoo
from zoo.distributions import fingerprint
from zoo.errors import PluginError, StorageError, describe, quote
from zoo.plugins import Plugin, import_object, load_specs
from zoo.specs import SPEC_CLASSES, AnySpec, FileSpec
from zoo.storage import write_file, zoo_home

if TYPE_CHECKING:
    from subprocess import Popen

log = logging.getLogger("zoo")

TIME_LIMIT = 10.0
"""Seconds that a plugin may take to say what it has; importing torch from a cold disk is most of it."""


def is_indexed(plugin: Plugin) -> bool:
    """Tell whether the index speaks for this plugin: installed, in module form, its code not run here yet."""
    return isinstance(plugin.source, str) and not plugin.given and plugin.specs is None


def indexed_specs(plugin: Plugin) -> list[AnySpec]:
    """Return the specs of an installed plugin in module form, its factories as text, from the cache where they are.

    A plugin that fails is marked with its `problem` and has no specs.
    """
    if plugin.indexed is None and plugin.problem is None:
        import hashlib

        key = _make_key(plugin)
        digest = hashlib.sha256(f"{plugin.source}\0{key['file']}".encode(errors="surrogatepass")).hexdigest()[:16]
        cache = zoo_home() / "cache" / f"index-{plugin.name}-{digest}.json"
        # What a plugin misses may get installed, so a failure holds only while nothing else changes.
        environment = hashlib.sha256(fingerprint().encode(errors="surrogatepass")).hexdigest()
        try:
            answer = json.loads(cache.read_bytes())
            if answer["key"] != key or ("problem" in answer and answer["environment"] != environment):
                raise ValueError("the plugin has changed")
            _take(plugin, answer)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):  # also missing or damaged
            log.info("indexing plugin %s, once", plugin.label)
            answer = {"key": key, "environment": environment, **_ask(plugin)}
            _take(plugin, answer)
            with suppress(OSError, StorageError):  # a read-only home: works, but slower
                cache.parent.mkdir(parents=True, exist_ok=True)
                write_file(cache, json.dumps(answer).encode(), what="the index of a plugin")
    return plugin.indexed or []


def _make_key(plugin: Plugin) -> dict[str, Any]:
    """Return what the specs depend on: versions, and the module's file as far as it is known without importing."""
    top, *rest = str(plugin.source).split(".")
    try:
        spec = importlib.util.find_spec(top)
    except Exception:  # noqa: BLE001 finders of editable installations are foreign code; the import will tell
        spec = None
    folders = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()] if spec else []
    paths = [path for folder in folders for path in (folder.with_suffix(".py"), folder / "__init__.py")]
    file = next((path for path in paths if path.is_file()), Path(spec.origin) if spec and spec.origin else None)
    changed = file.stat().st_mtime_ns if file and file.is_file() else None
    return {"zoo": zoo.__version__, "version": plugin.version, "file": str(file), "changed": changed}


def _take(plugin: Plugin, answer: dict[str, Any]) -> None:
    if "problem" in answer:
        what, cause = answer["problem"]
        plugin.indexed, plugin.problem = [], PluginError(plugin.name, plugin.version, what, cause)
        return
    plugin.indexed = []
    for kind, fields in answer["specs"]:
        files = {"files": [FileSpec(**file) for file in fields["files"]]} if "files" in fields else {}
        plugin.indexed.append(SPEC_CLASSES[kind](**{**fields, **files}))


def _ask(plugin: Plugin) -> dict[str, Any]:
    """Run the plugin's code in another process and return `specs` or `problem`.

    The answer comes in a file: what a plugin prints cannot get into it.
    """
    import signal
    import subprocess
    import tempfile

    paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
    # Without other plugins: one that lists the zoo's entries would start processes without end.
    environment = {**os.environ, "PYTHONPATH": paths, "ZOO_DISABLE_PLUGINS": "all"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder, "answer.json")
        # -P: a folder called zoo in the current folder must not be taken for this package.
        command = [sys.executable, "-P", "-m", "zoo.index", plugin.name, plugin.version, str(plugin.source), str(file)]
        quiet = subprocess.DEVNULL
        try:
            process = subprocess.Popen(
                command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
            )
        except OSError as error:
            return {"problem": ("no process could be started to index it", describe(error))}
        try:
            code = process.wait(TIME_LIMIT)
            return dict(json.loads(file.read_bytes()))
        except subprocess.TimeoutExpired:
            return {"problem": ("importing it failed", f"it took more than {TIME_LIMIT:g} s")}
        except (OSError, ValueError):
            why = f"signal {-code}: {signal.strsignal(-code)}" if code < 0 else f"exit code {code}"
            return {"problem": ("importing it failed", f"it ended the process ({why})")}
        finally:
            if process.poll() is None:
                _kill(process)


def _kill(process: Popen[bytes]) -> None:
    """End the process with those it started."""
    import signal

    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
    process.wait()


def main(name: str, version: str, module: str, answer: str) -> None:
    """Write what the plugin has, and end at once: no thread that it started and no exit handler can hold that up."""
    plugin = Plugin(name, version, "", module)
    content: dict[str, Any] = {}
    try:
        content["specs"] = [(spec.kind, _to_fields(plugin, spec)) for spec in load_specs(plugin)]
        if plugin.problem is not None:
            raise plugin.problem
        text = json.dumps(content, default=lambda value: dict(getattr(value, "__dict__", value)))
        _take(plugin, json.loads(text))
    except PluginError as error:
        prefix = PluginError(name, version, "", "").what
        text = json.dumps({"problem": (error.what.removeprefix(prefix).strip(), error.why)})
    except Exception as error:  # noqa: BLE001 specs of its own making, which the other side could not read
        text = json.dumps({"problem": ("its specs are not usable", describe(error))})
    Path(answer).write_text(text)
    os._exit(0)


def _to_fields(plugin: Plugin, spec: AnySpec) -> dict[str, Any]:
    fields = {name: getattr(spec, name) for name in SPEC_CLASSES[spec.kind].field_names()}
    if callable(spec.factory):
        reference = f"{getattr(spec.factory, '__module__', None)}:{getattr(spec.factory, '__qualname__', None)}"
        try:
            found = import_object(reference)
        except Exception:  # noqa: BLE001 whatever it is, the factory cannot be found again by name
            found = None
        if found != spec.factory:
            cause = "its factory cannot be imported by its name; expected a function or class of a module"
            raise PluginError(plugin.name, plugin.version, f"{spec.kind} {quote(spec.name)}", cause)
        fields["factory"] = reference
    return fields


if __name__ == "__main__":
    main(*sys.argv[1:])
