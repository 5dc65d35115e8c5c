"""Running checks: each gives a finding that says what it saw, why that matters, and which change mends it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from zoo.errors import ZooError, describe, is_out_of_memory
from zoo.registry.certificates import Finding, Status
from zoo.registry.source import find_error_line

S = TypeVar("S")
Check = Callable[[S], str]
"""Examines a subject: returns what it saw, or raises Fault, Skip or Untried. Its docstring says why that matters."""


class Fault(Exception):
    """Raised by a check that found something wrong; `where` is its line, by default that of the cause or subject."""

    def __init__(self, seen: str, fix: str, where: str = "", status: Status = "failed") -> None:
        super().__init__(seen)
        self.seen, self.fix, self.where, self.status = seen, fix, where, status


class Skip(Exception):
    """Raised by a check that has nothing to check; says why."""


class Untried(Exception):
    """Raised by a check that cannot be made on this machine; says why."""


def run_checks(
    checks: Mapping[str, Check[S]],
    subject: S,
    *,
    gates: Sequence[str] = (),
    on_start: Callable[[str], None] = lambda name: None,
) -> Iterator[Finding]:
    """Yield what each check finds; when one of `gates` fails or cannot be tried, the checks after it are not tried.

    Any error other than Fault, Skip and Untried that ends a check counts as a failure of the plugin's code.
    """
    stopped = ""
    for name, check in checks.items():
        if stopped:
            yield Finding(check=name, status="untried", seen=f"not tried without {stopped}")
            continue
        on_start(name)
        found = _run(name, check, subject)
        stopped = name if found.status in ("failed", "untried") and name in gates else ""
        yield found


def _run(name: str, check: Check[S], subject: S) -> Finding:
    why = explain(check)
    try:
        return Finding(check=name, status="passed", seen=check(subject))
    except Fault as fault:
        cause_line = find_error_line(fault.__cause__) if fault.__cause__ else ""
        where = fault.where or cause_line or getattr(subject, "definition", "")
        return Finding(check=name, status=fault.status, seen=fault.seen, why=why, fix=fault.fix, where=where)
    except Skip as skip:
        return Finding(check=name, status="skipped", seen=str(skip))
    except Untried as reason:
        return Finding(check=name, status="untried", seen=str(reason), why=why)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 a plugin may raise anything, even SystemExit
        if is_out_of_memory(error):
            return Finding(check=name, status="untried", seen=f"not enough memory here: {describe(error)}", why=why)
        seen, fix = describe(error), "Mend what raises it"
        if isinstance(error, ZooError):
            seen, fix = ": ".join(filter(None, (error.what, error.why))), error.fix or "Mend what it names"
        where = find_error_line(error)
        if not where:
            with suppress(ZooError):  # what cannot be imported is nowhere
                where = getattr(subject, "definition", "")
        return Finding(check=name, status="failed", seen=seen, why=why, fix=fix, where=where)


def explain(check: Callable[..., Any]) -> str:
    """Return why a check matters: its docstring after the first line, as one paragraph."""
    _, _, rest = (inspect.getdoc(check) or "").partition("\n")
    return " ".join(rest.split())
