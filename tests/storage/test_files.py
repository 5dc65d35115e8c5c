from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zoo.errors import SettingError, StorageError
from zoo.storage import creation, files, folders, locks

ROOT = Path(files.__file__).parents[2]
OLD, NEW, NEXT = b"old" * 500, b"new" * 1000, b"next" * 10
BARE_PYTHON = [sys.executable, "-I", "-S", "-B", "-c"]

# Saves NEW over OLD in three chunks. With a plan such as "fsync:2:EIO" the named calls fail or end the process, and
# os.write writes little at a time. With the plan "strace" the calls are real, between two marks for the log.
SAVE = f"""
import errno, os, sys
sys.path.insert(0, sys.argv[1])
from zoo import errors
from zoo.storage import creation, files, locks
path, plan, writer = sys.argv[2] + "/w", sys.argv[3], sys.argv[4]
faults = dict(part.rsplit(":", 1) for part in plan.split(",") if ":" in part)
calls = []

def wrap(name):
    real = getattr(os, name)
    def call(*args, **options):
        calls.append(name)
        fault = faults.get(f"{{name}}:{{calls.count(name)}}", "")
        if fault == "kill":
            os._exit(137)
        if name == "write":
            args = (args[0], bytes(args[1])[:600])
        if fault.startswith("E"):
            if name == "close":
                real(*args)
            raise OSError(getattr(errno, fault), "injected")
        result = real(*args, **options)
        if fault == "kill-after":
            os._exit(137)
        return result
    setattr(os, name, call)

def write_in_place(path, data, what):
    file = os.open(path, os.O_WRONLY | os.O_TRUNC)
    for chunk in data:
        os.write(file, chunk)
    os.close(file)

def mark(name):
    if plan == "strace":
        try:
            os.open(sys.argv[2] + name, os.O_RDONLY)
        except OSError:
            pass

os.umask(0o077)
if plan != "strace":
    for name in ("scandir", "open", "fchmod", "write", "fsync", "close", "replace", "unlink"):
        wrap(name)
mark("/begin-mark")
try:
    write = files.write_file if writer == "storage" else write_in_place
    write(path, iter([{NEW[:1000]!r}, {NEW[1000:2500]!r}, {NEW[2500:]!r}]), what="weights")
except errors.StorageError as error:
    answer = "refused"
else:
    answer = "saved"
mark("/end-mark")
print(answer, *calls, flush=True)
"""


def run_bare(code: str, *args: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run code in a small interpreter that sees zoo as `sys.argv[1]` and nothing that is installed."""
    command = [*before, *BARE_PYTHON, code, str(ROOT), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def parts_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".part"))


def age(path: Path, hours: float) -> None:
    then = time.time() - hours * 3600
    os.utime(path, (then, then))


class Sweep:
    """Save with one fault after another; collect what went against the promise, and which faults did no harm."""

    def __init__(self, folder: Path, writer: str = "storage") -> None:
        self.folder, self.writer, self.cases = folder, writer, 0
        self.broken: list[str] = []
        self.harmless: set[str] = set()
        self.late: set[str] = set()

    def save(self, plan: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        target, stale = self.folder / "w", self.folder / ".old.999999999-0123abcd.part"
        target.write_bytes(OLD)
        target.chmod(0o640)
        stale.touch()
        age(stale, 25)
        return run_bare(SAVE, self.folder, plan, self.writer, before=before)

    def check(self, case: str, fault: str, done: subprocess.CompletedProcess[str]) -> None:
        """Judge the folder after a save with this fault, then save again."""
        self.cases += 1
        target = self.folder / "w"
        content = target.read_bytes()
        answer = (done.stdout.split() or [""])[0]
        if answer not in ("saved", "refused") and "kill" not in fault:
            self.broken.append(f"{case} {fault}: neither saved nor refused: {done.returncode} {done.stderr}")
        if content not in (OLD, NEW):
            self.broken.append(f"{case} {fault}: torn")
        if answer == "saved":
            self.harmless.add(case)
            if content != NEW or target.stat().st_mode & 0o777 != 0o640:
                self.broken.append(f"{case} {fault}: acknowledged, but not the new file")
        if answer == "refused" and content == NEW:
            self.late.add(case)
        if answer and any(name.startswith(".w.") for name in parts_in(self.folder)):
            self.broken.append(f"{case} {fault}: part file left behind")
        for name in parts_in(self.folder):
            age(self.folder / name, 25)
        files.write_file(target, NEXT, what="weights")
        if parts_in(self.folder) or target.read_bytes() != NEXT:
            self.broken.append(f"{case} {fault}: the next save did not tidy up")


SYSTEM_CALLS = ["openat", "write", "fchmod", "fsync", "rename", "renameat", "renameat2", "close", "unlink", "unlinkat"]


def trace(log: Path | str, inject: str = "write:error=EIO:when=65535") -> tuple[str, ...]:
    names = ",".join(f"?{name}" for name in SYSTEM_CALLS)
    # Stopping at traced calls only halves the time, but loses injected signals.
    fast = () if "signal" in inject else ("--seccomp-bpf",)
    return ("strace", "-f", *fast, "-qq", "-o", str(log), "-e", f"trace={names}", "-e", f"inject={inject}")


def strace_works() -> bool:
    trial = [*trace(os.devnull), *BARE_PYTHON, ""]
    return bool(shutil.which("strace")) and subprocess.run(trial, capture_output=True, check=False).returncode == 0


def sweep_shim(sweep: Sweep, faults: tuple[str, ...] = ("kill", "kill-after", "ENOSPC", "EIO"), only: str = "") -> None:
    calls = sweep.save("none").stdout.split()[1:]
    for call in dict.fromkeys(calls):
        for k, fault in itertools.product(range(1, calls.count(call) + 1), faults if only in ("", call) else ()):
            sweep.check(f"{call} {k}", fault, sweep.save(f"{call}:{k}:{fault}"))


def sweep_strace(sweep: Sweep) -> None:
    log = sweep.folder.with_name("log")
    assert "saved" in sweep.save("strace", before=trace(log)).stdout
    sections = log.read_text().split("end-mark")[0].split("begin-mark")
    start, inside = (re.findall(r"^\d+ +(\w+)\(", section, re.MULTILINE) for section in sections)
    inside.pop()  # the second mark itself
    faults = ("signal=KILL", "error=ENOSPC", "error=EIO")
    for call in dict.fromkeys(inside):
        for k, fault in itertools.product(range(1, inside.count(call) + 1), faults):
            inject = f"{call}:{fault}:when={start.count(call) + k}"
            done = sweep.save("strace", before=trace(log, inject))
            before, _, after = log.read_text().partition("begin-mark")
            assert "INJECTED" not in before
            assert ("killed by SIGKILL" if "KILL" in fault else "INJECTED") in after
            name = {"openat": "open", "renameat": "replace", "renameat2": "replace", "rename": "replace"}.get(
                call, call
            )
            sweep.check(f"{name.removesuffix('at')} {k}", "kill" if "KILL" in fault else fault, done)


@pytest.mark.promise("P1")
@pytest.mark.slow
@pytest.mark.parametrize("injector", ["shim", "strace"] if strace_works() else ["shim"])
def test_a_save_is_whole_or_not_at_all_when_any_call_fails_or_kills(injector: str, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "folder")
    (sweep_shim if injector == "shim" else sweep_strace)(sweep)
    assert sweep.broken == []
    assert sweep.cases >= 40
    # Only the tidying up may fail unnoticed; only what makes the rename durable may fail with the new file in place.
    # The system calls include those of listing the folder, which come first.
    listing = injector == "strace"
    assert sweep.harmless == {"unlink 1", "unlink 2"} | ({"open 1", "close 1"} if listing else {"scandir 1"})
    assert sweep.late == {f"open {2 + listing}", "fsync 2", f"close {2 + listing}"}


@pytest.mark.promise("P1")
def test_a_save_killed_while_it_cleans_up_after_a_failure_harms_nothing(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "folder")
    for first, then in itertools.product(("write:2:ENOSPC", "fsync:1:EIO", "replace:1:EXDEV"), ("kill", "EIO")):
        done = sweep.save(f"{first},unlink:2:{then}")
        assert len(parts_in(sweep.folder)) == 1
        sweep.check(first, "kill", subprocess.CompletedProcess([], done.returncode, "", ""))
    assert sweep.broken == []


def test_the_sweep_notices_a_writer_that_writes_in_place(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "folder", writer="naive")
    sweep_shim(sweep, faults=("kill",), only="write")
    assert any("torn" in problem for problem in sweep.broken)


@pytest.mark.promise("P1")
def test_the_file_reaches_the_disk_before_the_rename_and_the_rename_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    opened: dict[object, str] = {}

    def watch(name: str) -> None:
        real = getattr(os, name)

        def call(first: object, *args: object) -> object:
            label = opened.get(first) or ("folder" if first == tmp_path else Path(str(first)).suffix)
            done.append(f"{name} {label}")
            result = real(first, *args)
            if name == "open":
                opened[result] = label
            if name == "close":
                del opened[first]
            return result

        monkeypatch.setattr(os, name, call)

    for name in ("open", "fsync", "close", "replace"):
        watch(name)
    files.write_file(tmp_path / "w", NEW, what="weights")
    monkeypatch.undo()
    part = ["open .part", "fsync .part", "close .part", "replace .part"]
    assert done == [*part, "open folder", "fsync folder", "close folder"]
    assert not opened


@pytest.mark.promise("P1")
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="/proc tells which folder is synced")
@pytest.mark.parametrize(
    "write",
    [
        lambda place: creation.create_folder(place, "run"),
        lambda place: creation.write_folder(place, "step", [("w", [NEW])], what="a checkpoint"),
    ],
    ids=["empty", "with files"],
)
def test_folders_that_were_missing_are_durable_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], object]
) -> None:
    synced, sync = list[Path](), os.fsync

    def note(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").readlink())
        sync(file)

    monkeypatch.setattr(os, "fsync", note)
    write(tmp_path / "one" / "two")
    assert {tmp_path, tmp_path / "one", tmp_path / "one" / "two"} <= {*synced}


@pytest.mark.promise("P1")
def test_a_system_that_writes_a_part_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:1000]))
    files.write_file(tmp_path / "w", [NEW, b"x" * 2500], what="weights")
    assert (tmp_path / "w").read_bytes() == NEW + b"x" * 2500


@pytest.mark.parametrize("data", [b"", NEW, [], [b"ab", b"", b"c"], iter([NEW, OLD]), (b"x" for _ in range(3))])
def test_all_of_the_data_is_written(data: object, tmp_path: Path) -> None:
    expected = data if isinstance(data, bytes) else b"".join(data := list(data))  # type: ignore[call-overload]
    files.write_file(str(tmp_path / "w"), data, what="weights")
    assert (tmp_path / "w").read_bytes() == expected
    assert parts_in(tmp_path) == []


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(
    ("mask", "existing", "expected"),
    [
        (0o022, None, 0o644),
        (0o077, None, 0o600),
        (0o022, 0o640, 0o640),
        (0o077, 0o640, 0o640),
        (0o022, 0o600, 0o600),
        (0o022, 0o444, 0o444),
    ],
)
def test_a_new_file_obeys_the_umask_and_an_existing_one_keeps_its_mode(
    mask: int, existing: int | None, expected: int, tmp_path: Path, umask: Callable[[int], int]
) -> None:
    target = tmp_path / "w"
    if existing is not None:
        target.write_bytes(OLD)
        target.chmod(existing)
    umask(mask)
    files.write_file(target, NEW, what="weights")
    assert target.stat().st_mode & 0o777 == expected
    assert target.read_bytes() == NEW


def test_what_only_the_owner_may_read_is_never_open_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: Callable[[int], int]
) -> None:
    (tmp_path / "w").touch(0o600)
    monkeypatch.setattr(os, "fchmod", lambda *args: pytest.fail("made wider first"))
    files.write_file(tmp_path / "w", NEW, what="weights")


@pytest.mark.promise("P1")
@pytest.mark.parametrize("error", [ConnectionError("no network"), ValueError("bad data"), KeyboardInterrupt()])
def test_an_error_of_the_data_itself_passes_unchanged_and_harms_nothing(error: BaseException, tmp_path: Path) -> None:
    def fail() -> Iterator[bytes]:
        yield NEW
        raise error

    target = tmp_path / "w"
    target.write_bytes(OLD)
    with pytest.raises(type(error)) as caught:
        files.write_file(target, fail(), what="weights")
    assert caught.value is error
    assert [path.name for path in tmp_path.iterdir()] == ["w"]
    assert target.read_bytes() == OLD


def test_text_is_refused_before_anything_is_lost(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(OLD)
    with pytest.raises(TypeError):
        files.write_file(tmp_path / "w", "text", what="weights")  # type: ignore[arg-type]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [OLD]


@pytest.mark.promise("P7")
def test_a_file_that_has_the_name_of_the_part_file_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: b"\xab" * size)
    victim, trap = tmp_path / "victim", tmp_path / f".w.{os.getpid()}-abababab.part"
    victim.write_bytes(OLD)
    trap.symlink_to(victim)
    with pytest.raises(StorageError, match="File exists"):
        files.write_file(tmp_path / "w", NEW, what="weights")
    assert victim.read_bytes() == OLD
    assert trap.is_symlink()


@pytest.mark.promise("P7")
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_gives_way_to_the_file_and_its_target_stays_as_it_is(exists: bool, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "real", tmp_path / "w"
    link.symlink_to(target)
    if exists:
        target.write_bytes(OLD)
        target.chmod(0o600)
    files.write_file(link, NEW, what="weights")
    assert not link.is_symlink()
    assert link.read_bytes() == NEW
    assert target.exists() == exists
    if exists:
        assert (target.read_bytes(), target.stat().st_mode & 0o777) == (OLD, 0o600)
    assert parts_in(tmp_path) + parts_in(tmp_path / "disk") == []


def make_refused(kind: str, folder: Path) -> Path:
    path = folder / "w"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind.startswith("link to"):
        path.symlink_to({"link to a folder": folder, "link to a device": os.devnull}[kind])
    elif kind == "file as folder":
        path.touch()
    names = {"NUL": "a\0b", "surrogate": "\ud800", "no folder": "no/w", "long": "x" * 256, "file as folder": "w/w"}
    return folder / names.get(kind, "w")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("folder", "not a regular file"),
        ("pipe", "it is a pipe, not a regular file"),
        ("link to a folder", "it is a folder, not a regular file"),
        ("link to a device", "it is a device, not a regular file"),
        ("loop", "symbolic links"),
        ("NUL", "null"),
        ("surrogate", "surrogates not allowed"),
        ("no folder", "the folder does not exist"),
        ("long", "name too long"),
        ("file as folder", "Not a directory"),
    ],
)
def test_what_cannot_be_replaced_by_a_file_is_refused(kind: str, why: str, tmp_path: Path) -> None:
    path = make_refused(kind, tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError, match=f"(?i)^cannot save the report to .*{why}"):
        files.write_file(path, NEW, what="the report")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["x" * 255, "\u00e9" * 127, "\U0001f600" * 63, "new\nline", " ", "-", "..."])
def test_any_name_that_the_file_system_takes_can_be_saved(name: str, tmp_path: Path) -> None:
    files.write_file(tmp_path / name, OLD, what="weights")
    files.write_file(tmp_path / name, NEW, what="weights")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, NEW)]


def test_only_stale_part_files_of_dead_processes_are_swept(tmp_path: Path) -> None:
    stale = [
        ".w.999999999-0123abcd.part",
        ".other.safetensors.999999999-0123abcd.part",
        ".a\nb.999999999-01234567.part",
    ]
    kept = [
        f".w.{os.getpid()}-0123abcd.part",
        "w.999999999-0123abcd.part",
        ".w.999999999-0123abcd.part.txt",
        ".w.999999999-0123abc.part",
        ".w.part",
        "w",
    ]
    for name in stale + kept:
        (tmp_path / name).touch()
        age(tmp_path / name, 24.1)
    young = ".young.999999999-0123abcd.part"
    (tmp_path / young).touch()
    age(tmp_path / young, 23.9)
    folder = ".folder.999999999-0123abcd.part"
    (tmp_path / folder).mkdir()
    age(tmp_path / folder, 24.1)
    files.write_file(tmp_path / "new", NEW, what="weights")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, young, folder, "new"}


@pytest.mark.parametrize(("failures", "saved"), [(0, True), (1, True), (10, True), (11, False)])
def test_on_windows_a_target_that_is_open_elsewhere_is_tried_again(
    failures: int, saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    left = [PermissionError(errno.EACCES, "in use")] * failures
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if left:
            raise left.pop()
        real(source, target)

    (tmp_path / "w").write_bytes(OLD)
    monkeypatch.setattr(files, "ON_WINDOWS", True)
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(time, "sleep", waits.append)
    if saved:
        files.write_file(tmp_path / "w", NEW, what="weights")
    else:
        with pytest.raises(StorageError, match="in use"):
            files.write_file(tmp_path / "w", NEW, what="weights")
    assert waits == [0.05] * min(failures, 10)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [NEW if saved else OLD]


def test_elsewhere_a_refused_rename_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(source: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    with pytest.raises(StorageError, match="no"):
        files.write_file(tmp_path / "w", NEW, what="weights")


@pytest.mark.parametrize(
    ("call", "code", "why"),
    [
        ("write", errno.ENOSPC, r"the disk is full \(1\.2 MB to write, \d+\.\d MB free\)\. Free some space\. "),
        ("open", errno.EROFS, "the folder is read-only"),
        ("open", errno.EACCES, "Permission denied"),
        ("open", errno.EMFILE, "Too many open files"),
        ("write", errno.EDQUOT, "quota"),
        ("write", errno.EFBIG, "too large"),
        ("fsync", errno.EIO, r"the disk reported an error \(EIO\)"),
        ("replace", errno.EXDEV, "[Cc]ross-device"),
    ],
)
def test_an_error_says_what_failed_and_why_and_what_to_do(
    call: str, code: int, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    target = tmp_path / "w"
    target.write_bytes(OLD)
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError) as caught:
        files.write_file(target, b"x" * 1_200_000, what="weights")
    monkeypatch.undo()
    assert re.match(f"cannot save weights to {re.escape(str(target))}: .*{why}.*runs_dir=", str(caught.value))
    assert caught.value.__cause__ is not None and caught.value.exit_code == 7
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [OLD]


@pytest.mark.promise("P1")
@pytest.mark.parametrize(
    ("code", "raised"), [(errno.EIO, True), (errno.ENOSPC, True), (errno.EINVAL, False), (errno.ENOTSUP, False)]
)
def test_a_folder_that_cannot_be_synced_is_no_error_but_a_failing_disk_is(
    code: int, raised: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, itertools.count(1)

    def fsync(file: int) -> None:
        if next(calls) == 2:
            raise OSError(code, "folder")
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    if raised:
        with pytest.raises(StorageError):
            files.write_file(tmp_path / "w", NEW, what="weights")
    else:
        files.write_file(tmp_path / "w", NEW, what="weights")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [NEW]


FULL = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from zoo.storage import creation, files, locks
folder = Path(sys.argv[2])

def attempt(action, *args, **options):
    try:
        action(*args, **options)
        print("done")
    except files.StorageError as error:
        print(error)

files.write_file(folder / "w", b"old", what="weights")
if sys.argv[3] == "limit":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
attempt(files.write_file, folder / "w", b"x" * 2_000_000, what="weights")
attempt(files.write_file, folder / "w", [b"x" * 500_000] * 4, what="weights")
if sys.argv[3] == "mounted":
    (folder / "big").touch()
    (folder / "big").write_bytes(b"x" * os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize)
    attempt(files.check_writable, folder, fix="Move.")
    (folder / "big").unlink()
    while True:
        try:
            (folder / os.urandom(8).hex()).touch()
        except OSError:
            break
    attempt(files.check_writable, folder, fix="Move.")
    attempt(creation.create_folder, folder, "run")
    os.system(f"mount -o remount,ro none {folder}")
    attempt(files.check_writable, folder, fix="Move.")
print((folder / "w").read_bytes(), [path.name for path in folder.iterdir() if "part" in path.name])
"""


def find_mount(folder: Path) -> tuple[str, ...]:
    """Return the command that runs another with a disk of 1 MB at `folder`, nothing where that is not allowed."""
    script = 'mount -t tmpfs -o size=1m,nr_inodes=20 none "$0" && exec "$@"'
    for flags in ("-m", "-rUm"):
        command = ("unshare", flags, "sh", "-c", script, str(folder))
        if (
            shutil.which("unshare")
            and not subprocess.run([*command, "true"], capture_output=True, check=False).returncode
        ):
            return command
    return ()


@pytest.mark.promise("P1")
def test_a_full_disk_leaves_the_former_file(tmp_path: Path) -> None:
    done = run_bare(FULL, tmp_path, "limit")
    *answers, state = done.stdout.splitlines()
    assert len(answers) == 2 and all("File too large. Use runs_dir=" in answer for answer in answers), done
    assert state == "b'old' []"


@pytest.mark.promise("P1")
def test_a_full_or_read_only_mount_is_named(tmp_path: Path) -> None:
    mount = find_mount(tmp_path)
    if not mount:
        return  # the limit on the file size and the injected errors stand for it
    done = run_bare(FULL, tmp_path, "mounted", before=mount)
    *answers, state = done.stdout.splitlines()
    for answer, why in zip(
        answers,
        [
            r"the disk is full \(2\.0 MB to write, 1\.0 MB free\)\. Free some space\. Use runs_dir=",
            r"the disk is full \(1\.0 MB free\)",
            r"^cannot write to .*: the disk is full \(0\.0 MB free\)\. Free some space\. Move\.",
            r"no inodes left\. Free some space\. Move\.",
            r"^cannot create folder 'run' in .*no inodes left",
            r"^cannot write to .*: the folder is read-only\. Move\.",
        ],
        strict=True,
    ):
        assert re.search(why, answer), done
    assert state == "b'old' []"


UNPRIVILEGED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import filelock
from zoo.storage import creation, files, locks
folder = Path(sys.argv[2])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for action, args, options in [
    (files.write_file, (folder / "w", b"new"), {"what": "weights"}),
    (files.check_writable, (folder,), {"fix": "Move."}),
    (files.check_writable, (folder / "a" / "b",), {"fix": "Move."}),
    (creation.create_folder, (folder, "run"), {}),
    (lambda path: locks.lock(path, timeout=0).__enter__(), (folder / "lock",), {}),
]:
    try:
        action(*args, **options)
    except files.StorageError as error:
        print(error)
"""


def test_a_folder_without_permission_is_named() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "w").write_bytes(OLD)
        folder.chmod(0o555)
        command = [sys.executable, "-I", "-B", "-c", UNPRIVILEGED, str(ROOT), name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        folder.chmod(0o755)
        assert (folder / "w").read_bytes() == OLD
    denied = ": Permission denied."
    assert done.stdout.splitlines() == [
        f"cannot save weights to {name}/w{denied} Use runs_dir=... to write elsewhere.",
        f"cannot write to {name}{denied} Move.",
        f"cannot write to {name}/a/b{denied} Move.",
        f"cannot create folder 'run' in {name}{denied} Use runs_dir=... to write elsewhere.",
        f"cannot lock {name}/lock{denied} Choose another place with ZOO_HOME.",
    ], done


def start_many(code: str, count: int, *args: object) -> list[subprocess.Popen[str]]:
    """Start processes that begin together: each waits for the end of its input."""
    begin = "import sys; sys.path.insert(0, sys.argv[1]); from zoo.storage import creation, files; sys.stdin.read()\n"
    pipe = subprocess.PIPE
    return [
        subprocess.Popen(
            [*BARE_PYTHON, begin + code, str(ROOT), *map(str, args), str(k)], stdin=pipe, stdout=pipe, text=True
        )
        for k in range(count)
    ]


@pytest.mark.promise("P9")
def test_many_processes_can_save_to_one_name(tmp_path: Path) -> None:
    save = "for i in range(25): files.write_file(sys.argv[2], [bytes([int(sys.argv[3]), i]) * 5000] * 3, what='it')"
    target = tmp_path / "w"
    processes = start_many(save, 8, target)
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    while any(process.poll() is None for process in processes):
        if target.exists():
            content = target.read_bytes()
            assert content == content[:2] * 15000
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    assert [process.returncode for process in processes] == [0] * 8
    assert target.read_bytes() in [bytes([k, 24]) * 15000 for k in range(8)]
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


@pytest.mark.promise("P9")
def test_many_processes_create_folders_of_their_own(tmp_path: Path) -> None:
    create = "for i in range(10): print(creation.create_folder(sys.argv[2], 'run').name)"
    processes = start_many(create, 8, tmp_path)
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    names = [name for process in processes for name in process.communicate()[0].split()]
    assert sorted(names) == sorted(["run", *(f"run-{k}" for k in range(2, 81))])
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_a_folder_is_created_under_the_first_free_name(tmp_path: Path) -> None:
    parent = tmp_path / "new" / "runs"
    assert creation.create_folder(parent, "run") == parent / "run"
    (parent / "run-2").touch()
    (parent / "run-3").symlink_to(tmp_path / "nowhere")
    assert creation.create_folder(str(parent), "run") == parent / "run-4"
    assert (parent / "run-4").is_dir()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.promise("P1")
def test_a_folder_appears_with_all_of_its_files_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, seen = tmp_path / "checkpoints", []

    def tell() -> Iterator[bytes]:
        (part,) = parent.glob(".step.*.part")
        seen.append({path.name: path.read_bytes() for path in part.iterdir()})
        yield b"first: 6 bytes"

    def write() -> Path:
        content = {"first": [memoryview(b"fir"), b"st\n"], "last": tell()}
        return creation.write_folder(parent, "step", content.items(), what="a checkpoint")

    assert write() == parent / "step" and write() == parent / "step-2"
    assert seen[0]["first"] == b"first\n", "the last file is begun when those before it are there"
    assert (parent / "step-2" / "last").read_bytes() == b"first: 6 bytes"
    before = sorted(tmp_path.rglob("*"))
    for name, action in (("fsync", os.fsync), ("write", os.write), ("open", os.open)):
        for number in range(8):
            left = [number]

            def fail(*args, action=action, left=left, **options):
                left[0] -= 1
                if left[0] == -1:
                    raise OSError(errno.ENOSPC, "injected")
                return action(*args, **options)

            with monkeypatch.context() as patch:
                patch.setattr(os, name, fail)
                try:
                    write()
                except StorageError as error:
                    assert "the disk is full" in str(error)
            # What fails after it got its name leaves it there, whole.
            whole = parent / "step-3"
            assert not whole.exists() or {path.name for path in whole.iterdir()} == {"first", "last"}
            shutil.rmtree(whole, ignore_errors=True)
            assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.promise("P1")
def test_a_created_folder_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(file: int) -> None:
        raise OSError(errno.EIO, "injected")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match="EIO"):
        creation.create_folder(tmp_path, "run")


BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/abs",
    "a\\b",
    "c:x",
    "a\0",
    "a\nb",
    "x.",
    "x ",
    "con",
    "NUL.txt",
    "lpt1",
    "a*",
    "~/",
]


@pytest.mark.promise("P7")
@pytest.mark.parametrize("name", [*BAD_NAMES, "\ud800", "x" * 256])
def test_a_name_that_is_no_plain_name_makes_no_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        creation.create_folder(tmp_path / "runs", name)
    assert sorted(path.name for path in tmp_path.rglob("*")) in ([], ["runs"])


@pytest.mark.parametrize("name", ["run", "2031-01-02-cnn-fashionmnist", "a.b_c", "console", "com", "-", "\u00e9"])
def test_a_plain_name_makes_that_folder(name: str, tmp_path: Path) -> None:
    assert creation.create_folder(tmp_path, name).name == name
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_writable_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    files.check_writable(str(tmp_path / "a" / "b"), fix="Move.")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("file as folder", "Not a directory"),
        ("file", "not a folder"),
        ("loop", "symbolic links"),
        ("nowhere", "the folder does not exist"),
        ("NUL", "null"),
        ("long", "name too long"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named(kind: str, why: str, tmp_path: Path) -> None:
    folder = make_refused(kind, tmp_path)
    if kind == "file":
        folder.touch()
    if kind == "nowhere":
        folder.symlink_to(tmp_path / "no" / "where")
    with pytest.raises(StorageError, match=f"(?i)^cannot write to .*{why}.*Move[.]$"):
        files.check_writable(folder, fix="Move.")
    with pytest.raises(StorageError, match=f"(?i)^cannot create folder 'run' in .*{why}"):
        creation.create_folder(folder, "run")
    with pytest.raises(StorageError, match=f"(?i)^cannot lock .*{why}"), locks.lock(folder / "lock", timeout=0):
        pytest.fail("locked")


@pytest.mark.promise("P9")
def test_a_lock_held_elsewhere_is_an_error_and_free_when_its_holder_dies(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    hold = (
        "import sys; sys.path.insert(0, sys.argv[1]); from zoo.storage import locks\n"
        "with locks.lock(sys.argv[2], timeout=0): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-I", "-B", "-c", hold, str(ROOT), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        why = r"^cannot lock .*lock: still held elsewhere after 0\.01 s"
        with pytest.raises(StorageError, match=why), locks.lock(path, timeout=0.01):
            pytest.fail("locked twice")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with locks.lock(path, timeout=0):
        pass


def test_a_lock_is_waited_for_as_long_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import filelock

    def acquire(self: object, timeout: float) -> None:
        assert timeout in (0, 7.5)
        raise filelock.Timeout("lock")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.raises(StorageError, match=r"after 7\.5 s"), locks.lock(tmp_path / "lock", timeout=7.5):
        pytest.fail("locked")


def test_a_lock_is_given_back_and_the_error_of_the_body_passes_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import filelock

    error = OSError("of the body")
    # Without this the collector frees a forgotten lock.
    monkeypatch.setattr(filelock.FileLock, "__del__", lambda self: None)
    with pytest.raises(OSError, match="of the body") as caught, locks.lock(tmp_path / "lock", timeout=0):
        raise error
    assert caught.value is error
    with locks.lock(tmp_path / "lock", timeout=0):
        pass


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in ("ZOO_HOME", "ZOO_DATA_DIR", "ZOO_RUNS_DIR", "ZOO_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return monkeypatch


def test_folders_come_from_the_argument_then_the_environment_then_a_default(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import platformdirs

    assert folders.zoo_home() == Path(platformdirs.user_data_dir("zoo", appauthor=False))
    assert folders.data_dir() == folders.zoo_home() / "data"
    assert folders.runs_dir() == Path("runs")
    clean_environment.setenv("ZOO_HOME", "~/home")
    assert folders.zoo_home() == tmp_path / "home"
    assert folders.data_dir() == tmp_path / "home" / "data"
    clean_environment.setenv("ZOO_DATA_DIR", "~/d")
    clean_environment.setenv("ZOO_RUNS_DIR", "~/r")
    assert (folders.data_dir(), folders.runs_dir()) == (tmp_path / "d", tmp_path / "r")
    assert (folders.data_dir("x"), folders.runs_dir(Path("~/y"))) == (Path("x"), tmp_path / "y")
    for name in ("ZOO_HOME", "ZOO_DATA_DIR", "ZOO_RUNS_DIR"):
        clean_environment.setenv(name, "")
    assert folders.data_dir() == Path(platformdirs.user_data_dir("zoo", appauthor=False), "data")
    assert folders.runs_dir() == Path("runs")


@pytest.mark.parametrize("value", ["", " ", "a\0b", "~no-such-user-here/x"])
def test_a_value_that_is_no_folder_is_refused_by_name(value: str, clean_environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match=r"^data_dir: "):
        folders.data_dir(value)
    if value.strip() and "\0" not in value:
        clean_environment.setenv("ZOO_RUNS_DIR", value)
        with pytest.raises(SettingError, match=r"^ZOO_RUNS_DIR: "):
            folders.runs_dir()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, False),
        ("", False),
        *((word, True) for word in ("1", "true", "YES", "On", " 1 ")),
        *((word, False) for word in ("0", "False", "no", "OFF")),
    ],
)
def test_a_switch_in_the_environment(value: str | None, expected: bool, clean_environment: pytest.MonkeyPatch) -> None:
    if value is not None:
        clean_environment.setenv("ZOO_OFFLINE", value)
    assert folders.read_flag("ZOO_OFFLINE") is expected
    assert folders.offline() is expected
    assert folders.offline(True) is True
    assert folders.offline(False) is False


@pytest.mark.parametrize("value", ["2", "ja", "truee", "01"])
def test_an_unclear_switch_is_refused_by_name(value: str, clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("ZOO_OFFLINE", value)
    with pytest.raises(SettingError, match=f"^ZOO_OFFLINE: expected 1, true, .*got '{value}'"):
        folders.offline()


def test_the_module_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import zoo.storage.files; print(*sys.modules)"
    command = [sys.executable, "-I", "-B", "-c", code, str(ROOT)]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "numpy", "platformdirs", "filelock", "shutil", "tempfile"}.isdisjoint(modules)
