"""Every error zoo raises on purpose: what failed and where, what was expected and got, what to do next.

The exit code of a class is the exit code of the command line (see docs/guide/cli.md).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

MAX_FOREIGN = 300
"""Characters of foreign text that a message repeats: an exception's words, a value, a name."""
MAX_PART = 1000
"""Characters of a whole part of a message, which joins words of zoo with foreign ones, paths and further reasons."""
CPP_FRAMES = "Exception raised from "
"""How torch begins the place in its C++ code and the frames that led there: of use to its developers only."""


def shorten(text: str, most: int = MAX_FOREIGN) -> str:
    """Return text of at most `most` characters, with its end replaced by dots where it is longer."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _bound(part: str) -> str:
    """Fold a part of a message; of one that is too long the middle is left out, because zoo's words are at its ends."""
    text, half = one_line(part), MAX_PART // 2
    return text if len(text) <= MAX_PART else f"{text[:half]}...{text[-half:]}"


def quote(text: object) -> str:
    """Quote foreign text for a message: cut short unless it is a path, control characters escaped for the terminal."""
    return repr(str(text) if hasattr(text, "__fspath__") else shorten(str(text)))


def show(value: object) -> str:
    """Return `repr(value)` for a message, cut short, or the type of a value that cannot be shown."""
    try:
        return shorten(str(repr(value)))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 a foreign object may raise anything; numbers of 5,000 digits have no text
        return f"<{one_line(shorten(type(value).__name__))}>"


def one_line(text: str) -> str:
    """Fold foreign text (an exception's message, say) into one printable line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))


def describe(error: BaseException) -> str:
    """Return ``Type: message`` on one line, as a cause is quoted inside another message.

    The message is cut short, and frames of C++ that torch adds to it are left out.
    """
    kind = one_line(shorten(type(error).__name__))
    try:
        message = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 the text of a foreign exception is foreign code; a huge number has none
        return f"{kind} (it has no text that can be shown)"
    # An error of zoo is bounded where it is made, so it keeps its advice.
    cut = message if isinstance(error, ZooError) else shorten(one_line(message.partition(CPP_FRAMES)[0]))
    return f"{kind}: {one_line(cut)}" if cut else kind


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like `name`, or the shortest that contains it, or None when nothing is close."""
    import difflib

    wanted, known = name[:MAX_FOREIGN].lower(), list(known)
    if matches := difflib.get_close_matches(wanted, known, n=1, cutoff=0.6):
        return matches[0]
    # Of two letters nearly every name has some.
    return min((one for one in known if len(wanted) > 2 and wanted in one.lower()), key=len, default=None)


def suggest(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return the advice to take the known name most like `name`, or the other advice when nothing is close.

    Where `name` is the first word of some names, `f1` of `f1-macro` and `f1-micro` say, these are meant.
    """
    known = list(known)
    near = find_variants(name, known) or [one for one in [closest(name, known)] if one]
    return ask(near) if near else otherwise


def find_variants(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that go on after `name` and a hyphen."""
    return [one for one in known if one.startswith(f"{name.lower()}-")]


def ask(meant: Sequence[str]) -> str:
    """Return the question whether one of some names is meant; of many the first five are named."""
    *others, last = map(quote, meant[:5])
    return f"Did you mean {', '.join(others)} or {last}?" if others else f"Did you mean {last}?"


# What torch and numpy say in plain errors, the last two of each for sizes whose product no memory can hold.
TORCH_SAYS = (
    *("can't allocate memory", "Cannot allocate memory", "out of memory", "Invalid buffer size"),
    *("Storage size calculation overflowed", "integer multiplication overflow"),
)
NUMPY_SAYS = ("Maximum allowed dimension exceeded", "array is too big")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, or was asked for in sizes that no memory can have.

    Python and numpy raise a MemoryError and torch an error of its own for a device, but both plain ones besides.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = TORCH_SAYS if isinstance(error, RuntimeError) else NUMPY_SAYS if isinstance(error, ValueError) else ()
    return any(text in describe(error) for text in said)


def is_out_of_files(error: BaseException) -> bool:
    """Tell whether this process, or the system, may open no more files."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


LACKS = re.compile(
    "operator '([^']+)' is not currently implemented for the ([A-Z]+) device|Could not run '([^']+)' with"
)
"""How torch begins to say that a device does not have an operation."""


def is_device_fault(error: BaseException) -> bool:
    """Tell whether an accelerator failed under the work, or has no such operation: no fault of who asked for it."""
    if any(kind.__name__ == "AcceleratorError" for kind in type(error).__mro__):
        return not is_out_of_memory(error)
    return isinstance(error, NotImplementedError) and LACKS.search(str(error)) is not None


class ZooError(Exception):
    """The root: catch this to catch every failure that zoo foresees.

    `what` failed and where, `why` (expected and got), `fix` (what to do next); `str()` joins them.
    """

    exit_code = 1

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        self.what, self.why, self.fix = _bound(what), _bound(why), one_line(fix)
        super().__init__(self.what, self.why, self.fix)

    @property
    def problems(self) -> tuple[ZooError, ...]:
        """The single problems this error stands for; itself unless it is a collection."""
        return (self,)

    def __str__(self) -> str:
        text = f"{self.what}: {self.why}" if self.why else self.what
        if not self.fix:
            return text
        return f"{text} {self.fix}" if text.endswith((".", "?")) else f"{text}. {self.fix}"


class UsageError(ZooError):
    """Something asked for does not exist or makes no sense: names, params, options (exit 2)."""

    exit_code = 2


class UnknownNameError(UsageError):
    """No entry of that kind has this name; entries of the kinds `elsewhere` may have it."""

    def __init__(
        self,
        kind: str,
        name: str,
        known: Sequence[str],
        notes: Sequence[str] = (),
        fix: str = "",
        elsewhere: Sequence[str] = (),
    ) -> None:
        self.kind, self.name, self.known, self.notes = kind, name, tuple(known), tuple(notes)
        self.elsewhere = tuple(elsewhere)
        if not fix:
            fix = suggest(name, known, f"See: zoo list {kind if kind.endswith('s') else f'{kind}s'}")
        super().__init__(f"no {kind} named {quote(name)}", fix=" ".join([fix, *notes]))


class AmbiguousNameError(UsageError):
    """Several plugins provide this bare name."""

    def __init__(self, kind: str, name: str, candidates: Sequence[str]) -> None:
        self.kind, self.name, self.candidates = kind, name, tuple(candidates)
        what = f"{kind} {quote(name)} is provided by {len(candidates)} plugins"
        super().__init__(what, fix=f"Use one of: {', '.join(candidates)}")


class SettingError(UsageError):
    """A setting or param has a value it cannot have."""

    def __init__(self, name: str, expected: str, got: object = ..., fix: str = "") -> None:
        self.name, self.expected, self.got = name, expected, got
        what = f"{shorten(name)}: {expected}"
        super().__init__(what if got is ... else f"{what}, got {show(got)}", fix=fix)


class UnknownSettingError(UsageError):
    """A setting or param that does not exist."""

    def __init__(self, where: str, name: str, known: Sequence[str], meant: str | None = None) -> None:
        self.where, self.name, self.known = where, name, tuple(known)
        fix = suggest(meant or name, known, f"Known: {', '.join(known) or 'none'}")
        super().__init__(f"{where} has no setting {quote(name)}", fix=fix)


class IncompatibleError(UsageError):
    """This model cannot work with this data set."""

    def __init__(self, model: str, dataset: str, needed: str, found: str, fix: str = "") -> None:
        self.model, self.dataset, self.needed, self.found = model, dataset, needed, found
        what = f"model {quote(model)} does not fit dataset {quote(dataset)}"
        super().__init__(what, f"needs {needed}, got {found}", fix)


class DryRunError(IncompatibleError):
    """The built model failed on a batch of zeros: the plugin that provides it does not keep the contract (exit 5)."""

    exit_code = 5


class DeviceError(UsageError):
    """The device asked for is not here. Never replaced by another one silently."""

    def __init__(self, device: str, reason: str, fix: str = "Use device='auto' or 'cpu'.") -> None:
        self.device = device
        super().__init__(f"device {quote(device)} was asked for, but {reason}", fix=fix)


class DataError(ZooError):
    """A data set or image that cannot be used (exit 3)."""

    exit_code = 3


class WeightsError(ZooError):
    """A weights file or checkpoint that cannot be used (exit 4)."""

    exit_code = 4


class ManifestError(ZooError):
    """A manifest that cannot be used: names the file, table and key (exit 4)."""

    exit_code = 4

    def __init__(self, path: object, table: str, problem: str) -> None:
        self.path, self.table = str(path), table
        where = f"{one_line(str(path))}: [{table}]" if table else one_line(str(path))
        super().__init__(f"{where} {problem}" if table else f"{where}: {problem}")


class PluginError(ZooError):
    """A plugin failed: names the plugin, its version and the cause (exit 5)."""

    exit_code = 5

    def __init__(self, plugin: str, version: str, what: str, cause: str, fix: str = "") -> None:
        self.plugin, self.version, self.failed, self.cause = plugin, version, what, cause
        super().__init__(f"plugin {quote(plugin)}{f' {version}' if version else ''}: {what}", cause, fix)


class DownloadError(ZooError):
    """Files could not be fetched (exit 6)."""

    exit_code = 6


class StorageError(ZooError):
    """A file could not be written or a folder not be used: full, read-only, permission (exit 7)."""

    exit_code = 7


class DivergedError(ZooError):
    """Training or evaluation met a number that is not finite (exit 8)."""

    exit_code = 8


class PrunedError(ZooError):
    """A trial of a sweep was ended early, because its validation scores left it no hope."""


class OutOfMemoryError(ZooError):
    """Memory of the machine or of the device is exhausted (exit 9)."""

    exit_code = 9


class WorkerError(ZooError):
    """A data worker process died (exit 10)."""

    exit_code = 10


class DeviceFaultError(ZooError):
    """An accelerator failed in the middle of the work, or has no such operation (exit 10)."""

    exit_code = 10

    def __init__(self, error: BaseException, device: str = "") -> None:
        lacks = LACKS.search(describe(error))
        name = f"device {quote(device)}" if device else "the device"
        what = f"{name} has no operation {lacks[1] or lacks[3]}" if lacks else f"{name} failed"
        fix = "Use device='cpu'" if lacks else "Go on from the last checkpoint, or use device='cpu'"
        if lacks and "MPS" in (lacks[2] or device.upper()):
            fix += ", or set PYTORCH_ENABLE_MPS_FALLBACK=1: torch then computes what is missing on the CPU and says so"
        super().__init__(what, describe(error), fix)


class UnexpectedScoreError(ZooError):
    """A run did not come to the scores that its recipe expects (exit 11)."""

    exit_code = 11


class SeveralErrors(ZooError):
    """Several independent problems, found in one go and reported together."""

    def __init__(self, problems: Sequence[ZooError]) -> None:
        self._problems = tuple(problems)
        self.exit_code = problems[0].exit_code
        super().__init__("; ".join(str(problem) for problem in problems))

    @property
    def problems(self) -> tuple[ZooError, ...]:
        """The problems, in the order they were found."""
        return self._problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self._problems)


class ErrorCollector:
    """Collect usage errors of independent checks, so that the user sees all of them at once.

    >>> errors = ErrorCollector()
    >>> with errors.catch():
    ...     raise UsageError("one thing")
    >>> errors.raise_any()
    Traceback (most recent call last):
    zoo.errors.UsageError: one thing
    """

    def __init__(self) -> None:
        self.errors: list[ZooError] = []

    @contextmanager
    def catch(self) -> Iterator[None]:
        """Keep a ZooError raised inside instead of letting it through."""
        try:
            yield
        except ZooError as error:
            self.errors.extend(error.problems)

    def raise_any(self) -> None:
        """Raise what was collected: nothing, the one error, or all of them as SeveralErrors."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise SeveralErrors(self.errors)
