from __future__ import annotations

import copy
import errno
import pickle
from pathlib import Path

import numpy
import pytest
import torch

from zoo import errors
from zoo.errors import (
    AmbiguousNameError,
    DataError,
    DeviceError,
    DeviceFaultError,
    DivergedError,
    DownloadError,
    DryRunError,
    ErrorCollector,
    IncompatibleError,
    ManifestError,
    OutOfMemoryError,
    PluginError,
    PrunedError,
    SettingError,
    SeveralErrors,
    StorageError,
    UnexpectedScoreError,
    UnknownNameError,
    UnknownSettingError,
    UsageError,
    WeightsError,
    WorkerError,
    ZooError,
    closest,
    describe,
    is_out_of_memory,
    one_line,
    quote,
    show,
)

EXAMPLES = [
    (UsageError("a thing"), 2, "a thing"),
    (UsageError("a thing", "expected this, got that", "Do so"), 2, "a thing: expected this, got that. Do so"),
    (UsageError("a thing", fix="Do so."), 2, "a thing. Do so."),
    (UsageError("a thing", "it ended.", "Do so."), 2, "a thing: it ended. Do so."),
    (UsageError("a thing", "really?", "Do so."), 2, "a thing: really? Do so."),
    (
        UnknownNameError("model", "baselin", ["baseline", "tinyvgg"]),
        2,
        "no model named 'baselin'. Did you mean 'baseline'?",
    ),
    (UnknownNameError("model", "xyzzy", ["baseline"]), 2, "no model named 'xyzzy'. See: zoo list models"),
    (
        UnknownNameError("dataset", "x", [], ["Broken: a.", "Broken: b."]),
        2,
        "no dataset named 'x'. See: zoo list datasets Broken: a. Broken: b.",
    ),
    (UnknownNameError("model", "x", ["y"], fix="Look there."), 2, "no model named 'x'. Look there."),
    (
        AmbiguousNameError("model", "net", ["a/net", "b/net"]),
        2,
        "model 'net' is provided by 2 plugins. Use one of: a/net, b/net",
    ),
    (SettingError("lr", "must be above 0", -1), 2, "lr: must be above 0, got -1"),
    (SettingError("lr", "must be above 0", "x", "Try 0.1"), 2, "lr: must be above 0, got 'x'. Try 0.1"),
    (SettingError("lr", "needs a value"), 2, "lr: needs a value"),
    (SettingError("lr", "must be a number", None), 2, "lr: must be a number, got None"),
    (
        UnknownSettingError("training", "epoch", ["epochs", "lr"]),
        2,
        "training has no setting 'epoch'. Did you mean 'epochs'?",
    ),
    (UnknownSettingError("training", "q", ["epochs", "lr"]), 2, "training has no setting 'q'. Known: epochs, lr"),
    (UnknownSettingError("model 'm'", "q", []), 2, "model 'm' has no setting 'q'. Known: none"),
    (UnknownSettingError("training", "q", ["lr"], "lr"), 2, "training has no setting 'q'. Did you mean 'lr'?"),
    (
        IncompatibleError("m", "d", "1x28x28", "3x32x32", "Adapt it"),
        2,
        "model 'm' does not fit dataset 'd': needs 1x28x28, got 3x32x32. Adapt it",
    ),
    (DryRunError("m", "d", "2x10", "2x7"), 5, "model 'm' does not fit dataset 'd': needs 2x10, got 2x7"),
    (
        DeviceError("cuda", "this build of torch sees no CUDA device"),
        2,
        "device 'cuda' was asked for, but this build of torch sees no CUDA device. Use device='auto' or 'cpu'.",
    ),
    (DataError("dataset 'd'", "has no samples"), 3, "dataset 'd': has no samples"),
    (WeightsError("w.safetensors", "cut", "Copy it again"), 4, "w.safetensors: cut. Copy it again"),
    (
        ManifestError("registry.toml", "models.cnn", "factroy: unknown key"),
        4,
        "registry.toml: [models.cnn] factroy: unknown key",
    ),
    (ManifestError("registry.toml", "", "no such file"), 4, "registry.toml: no such file"),
    (PluginError("zoo-x", "1.2", "hook failed", "KeyError: 'a'"), 5, "plugin 'zoo-x' 1.2: hook failed: KeyError: 'a'"),
    (PluginError("mine", "", "it failed", "X", "Fix it"), 5, "plugin 'mine': it failed: X. Fix it"),
    (DownloadError("no network"), 6, "no network"),
    (StorageError("disk full"), 7, "disk full"),
    (DivergedError("the loss became nan", fix="Use a lower lr=..."), 8, "the loss became nan. Use a lower lr=..."),
    (PrunedError("ended after epoch 2"), 1, "ended after epoch 2"),
    (OutOfMemoryError("not enough"), 9, "not enough"),
    (WorkerError("a worker died"), 10, "a worker died"),
    (
        DeviceFaultError(torch.AcceleratorError("CUDA error: the launch timed out"), "cuda:1"),
        10,
        "device 'cuda:1' failed: AcceleratorError: CUDA error: the launch timed out. Go on from the last checkpoint, "
        "or use device='cpu'",
    ),
    (
        DeviceFaultError(NotImplementedError("Could not run 'aten::foo' with arguments from the 'XPU' backend.")),
        10,
        "the device has no operation aten::foo: NotImplementedError: Could not run 'aten::foo' with arguments from the "
        "'XPU' backend. Use device='cpu'",
    ),
    (UnexpectedScoreError("off: accuracy"), 11, "off: accuracy"),
    (ZooError("a bug"), 1, "a bug"),
]


@pytest.mark.parametrize(("error", "code", "text"), EXAMPLES, ids=[type(error).__name__ for error, _, _ in EXAMPLES])
def test_texts_and_exit_codes(error, code, text):
    assert str(error) == text
    assert error.exit_code == code
    assert isinstance(error, ZooError)
    assert error.problems == (error,)


def test_every_error_is_among_the_examples():
    known = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ZooError)}
    assert known == {type(error) for error, _, _ in EXAMPLES} | {SeveralErrors}


def test_fields_are_kept():
    error = UnknownNameError("model", "baselin", ["baseline"], ["Broken: a."])
    assert (error.kind, error.name, error.known, error.notes) == ("model", "baselin", ("baseline",), ("Broken: a.",))
    error = SettingError("lr", "must be above 0", -1)
    assert (error.name, error.expected, error.got) == ("lr", "must be above 0", -1)
    error = WeightsError("what", "why", "fix")
    assert (error.what, error.why, error.fix) == ("what", "why", "fix")
    error = PluginError("zoo-x", "1.2", "what", "cause")
    assert (error.plugin, error.version, error.cause) == ("zoo-x", "1.2", "cause")


def test_usage_errors_are_one_family():
    family = (UnknownNameError, AmbiguousNameError, SettingError, UnknownSettingError, IncompatibleError, DeviceError)
    assert all(issubclass(each, UsageError) for each in family)
    assert issubclass(DryRunError, IncompatibleError)


EVIL = "a\x1b[31m\nb\x00\u202e\x9b2J\r\u2028c"


@pytest.mark.parametrize(
    "error",
    [
        ZooError(EVIL, EVIL, EVIL),
        UnknownNameError("model", EVIL, [EVIL + "x"], [EVIL]),
        AmbiguousNameError("model", EVIL, [EVIL]),
        SettingError(EVIL, EVIL, EVIL, EVIL),
        UnknownSettingError(EVIL, EVIL, [EVIL]),
        IncompatibleError(EVIL, EVIL, EVIL, EVIL, EVIL),
        DeviceError(EVIL, EVIL, EVIL),
        ManifestError(EVIL, EVIL, EVIL),
        PluginError(EVIL, EVIL, EVIL, EVIL, EVIL),
    ],
    ids=lambda error: type(error).__name__,
)
def test_foreign_text_cannot_drive_a_terminal(error):
    assert str(error).isprintable()
    assert all(part.isprintable() for part in (error.what, error.why, error.fix))
    assert "\\x1b[31m" in str(error)


def test_one_line():
    assert one_line("  a\n\n b\tc ") == "a b c"
    assert one_line("\x1b[0m") == "\\x1b[0m"
    assert one_line("Größe 日本 'x'") == "Größe 日本 'x'"
    assert one_line("") == ""
    assert quote("a\x1bb") == "'a\\x1bb'"
    assert quote(5) == "'5'"


def test_describe():
    assert describe(ValueError("bad\nthing")) == "ValueError: bad thing"
    assert describe(KeyError("a")) == "KeyError: 'a'"
    assert describe(StopIteration()) == "StopIteration"
    assert describe(ZooError("what", "why", "fix")) == "ZooError: what: why. fix"


class Hostile(Exception):
    def __str__(self):
        raise self.args[0]


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), RecursionError(), GeneratorExit()])
def test_an_error_whose_text_fails_is_described(error):
    assert describe(Hostile(error)) == "Hostile (it has no text that can be shown)"
    with pytest.raises(KeyboardInterrupt):
        describe(Hostile(KeyboardInterrupt()))


def test_an_error_with_a_huge_number_is_described():
    assert describe(ValueError(10**5000)) == "ValueError (it has no text that can be shown)"
    assert show(10**5000) == "<int>"
    assert str(SettingError("seed", "must be smaller", 10**5000)) == "seed: must be smaller, got <int>"


def test_foreign_text_is_cut():
    long = "x" * 5000
    assert describe(ValueError(long)) == f"ValueError: {'x' * 297}..."
    assert describe(type(long, (Exception,), {})()) == f"{'x' * 297}..."
    assert quote(long) == f"'{'x' * 297}...'"
    assert show(long) == f"'{'x' * 296}..."
    assert quote(Path(long)) == repr(long), "half a path is of no use"
    for error in (
        SettingError(long, "must be short", long),
        UnknownSettingError("training", long, ["lr"]),
        UnknownNameError("model", long, ["baseline"]),
        PluginError("mine", "", "it failed", long),
        WeightsError("w", f"{long} it says"),
    ):
        assert len(str(error)) < 1100, error
    message = str(ZooError(f"{long} cannot be read", f"{long} is why", "Do so"))
    assert " cannot be read: " in message and message.endswith(" is why. Do so") and len(message) < 2100


def test_frames_of_cpp_are_left_out():
    with pytest.raises(TypeError) as caught:
        torch.empty(10**30)
    assert "frame #0" in str(caught.value), "torch still prints them"
    said = describe(caught.value)
    assert said.endswith('failed to unpack the object at pos 1 with error "Overflow when unpacking long long')


def test_closest():
    known = ["baseline", "relu-mlp", "tinyvgg"]
    assert closest("BaseLine", known) == "baseline"
    assert closest("relu_mlp", known) == "relu-mlp"
    assert closest("resnet", known) is None
    assert closest("", known) is None
    assert closest("a", []) is None


def test_several_errors_are_one_with_many_lines():
    problems = [WeightsError("one", "why", "Do so"), UsageError("two"), DataError("three")]
    error = SeveralErrors(problems)
    assert str(error) == "one: why. Do so\ntwo\nthree"
    assert error.exit_code == 4, "that of the first"
    assert error.problems == tuple(problems)


def test_a_collector_raises_what_it_caught():
    collector = ErrorCollector()
    collector.raise_any()
    first, second, third = UsageError("one"), DataError("two"), WeightsError("three")
    for error in (first,):
        with collector.catch():
            raise error
    with pytest.raises(UsageError) as caught:
        collector.raise_any()
    assert caught.value is first
    with collector.catch():
        raise SeveralErrors([second, third])
    with collector.catch():
        pass
    with pytest.raises(SeveralErrors) as several:
        collector.raise_any()
    assert several.value.problems == (first, second, third)


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_a_collector_lets_other_errors_through(error):
    collector = ErrorCollector()
    with pytest.raises(type(error)), collector.catch():
        raise error
    collector.raise_any()


def test_running_out_of_memory_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, 784)
    assert is_out_of_memory(caught.value)
    for make in (lambda: numpy.empty(10**15), lambda: numpy.empty(10**30), lambda: numpy.empty((10**10, 10**10))):
        with pytest.raises((MemoryError, ValueError)) as caught:
            make()
        assert is_out_of_memory(caught.value)
    assert is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert not is_out_of_memory(OSError(errno.ENOSPC, "No space left on device"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))


@pytest.mark.parametrize("error", [ZooError("what", "why", "fix"), DataError("what"), WeightsError("w", "y")])
def test_plain_errors_can_be_copied_and_sent_between_processes(error):
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert str(other) == str(error)
