"""Settings: everything a training can be told, each declared once: type, default, range, help.

The options of `zoo run` and `zoo check`, the pages made from them, the checks of `TrainConfig` and the keywords that a
type checker knows (`zoo/registry/keywords.py`) are made from the fields here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import accumulate
from typing import Any, Literal, get_args, get_type_hints

from zoo.registry.params import Expected, read_values
from zoo.registry.setting import (
    NO_OPERATIONS,
    Setting,
    read_loss,
    read_number,
    read_operations,
    read_size,
    read_table,
    read_weights,
    setting,
)

DEFAULT_LR: dict[str, float] = {
    **{"sgd": 0.1, "adam": 0.001, "adamw": 0.001, "adamax": 0.002, "nadam": 0.002, "radam": 0.001, "rmsprop": 0.01},
    **{"adagrad": 0.01, "adadelta": 1.0, "adafactor": 0.01, "asgd": 0.01, "rprop": 0.01},
}
"""The optimizers, each with its learning rate when none is asked for: the course's for SGD, the default of torch.optim
for the others. They are those of torch.optim that take a step over all parameters without a closure."""


CROSS_ENTROPY = "cross-entropy"
"""The loss of a training that asks for none, and what every evaluation reports as `loss`."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of a training; also what a model's manifest entry may recommend under `train`.

    Text is converted; None means the default.

    Raises:
        SettingError, SeveralErrors: values of another type or out of their range.
    """

    epochs: int = setting(3, "Passes over the training data; 0 only evaluates.", ge=0, le=100_000)
    batch_size: int = setting(32, "Samples per training step.", ge=1, le=1_000_000_000)
    lr: float = setting(
        None,
        "Learning rate.",
        metavar="RATE",
        shown_default="0.1 for sgd, that of torch.optim for the others",
        gt=0.0,
        follows_optimizer=True,
    )
    head_lr: float | None = setting(
        None,
        "Learning rate of the last layer, or of what is new to the weights started from.",
        metavar="RATE",
        shown_default="that of the rest",
        gt=0.0,
        follows_optimizer=True,
    )
    # fmt: off
    optimizer: Literal[
        "sgd", "adam", "adamw", "adamax", "nadam", "radam", "rmsprop", "adagrad", "adadelta", "adafactor", "asgd",
        "rprop",
    ] = setting("sgd", f"{', '.join(DEFAULT_LR)}.", metavar="NAME")
    # fmt: on
    optimizer_params: Mapping[str, Any] | None = setting(
        None,
        "A param of the optimizer, as torch.optim names it: betas=0.9,0.99, nesterov=true ...; repeatable.",
        convert=read_table,
        option="optimizer-param",
        given_type="dict[str, Any] | None",
        follows_optimizer=True,
    )
    momentum: float = setting(
        0.0,
        "Momentum of sgd, from 0 to below 1.",
        metavar="X",
        shown_default="0",
        ge=0,
        lt=1,
        only={"optimizer": ("sgd",)},
        follows_optimizer=True,
    )
    weight_decay: float = setting(
        0.0,
        "Decay of the weights in every step.",
        metavar="X",
        shown_default="0",
        ge=0,
        only={"optimizer": tuple(name for name in DEFAULT_LR if name != "rprop")},
        follows_optimizer=True,
    )
    decay_all: bool = setting(False, "Decay biases and normalisation as well.", follows_optimizer=True)
    schedule: Literal["constant", "cosine", "linear", "one-cycle", "step", "exponential", "plateau"] = setting(
        "constant",
        "How the rate changes: constant, cosine or linear (down to 0), one-cycle, step, exponential, plateau.",
        metavar="NAME",
    )
    warmup: int = setting(
        0,
        "Steps in which the rate rises from near 0 at the start.",
        ge=0,
        only={"schedule": ("constant", "cosine", "linear", "step", "exponential", "plateau")},
    )
    step_epochs: int = setting(1, "Epochs between two falls of a step schedule.", ge=1, only={"schedule": ("step",)})
    plateau_epochs: int = setting(
        3, "Epochs without a better score before a plateau schedule falls.", ge=1, only={"schedule": ("plateau",)}
    )
    gamma: float = setting(
        0.1,
        "Factor of the rate at each fall of a step or plateau schedule, over each epoch of an exponential one.",
        metavar="X",
        gt=0,
        le=1,
        only={"schedule": ("step", "exponential", "plateau")},
    )
    unfreeze_at: int | None = setting(
        None, "Epoch from which on what is frozen is trained too.", shown_default="never", ge=2, le=100_000
    )
    accumulate: int = setting(1, "Batches whose gradients make one step.", ge=1, le=1_000_000)
    clip: float | None = setting(
        None, "Largest norm of all gradients together.", metavar="NORM", shown_default="no limit", gt=0.0
    )
    clip_value: float | None = setting(
        None, "Largest size of a single gradient.", metavar="X", shown_default="no limit", gt=0.0
    )
    ema: float | None = setting(
        None,
        "Decay of an exponential moving average of the weights, 0.999 say: it is what is evaluated and kept.",
        metavar="D",
        shown_default="the weights as they are",
        gt=0.0,
        lt=1.0,
    )
    loss: str = setting(
        CROSS_ENTROPY, "What the training minimises; zoo list losses has them.", metavar="NAME", convert=read_loss
    )
    loss_params: Mapping[str, Any] | None = setting(
        None,
        "A param of the loss; repeatable.",
        convert=read_table,
        given_type="Mapping[str, Any] | None",
        option="loss-param",
        follows_loss=True,
    )
    label_smoothing: float = setting(
        0.0,
        "Share of a target that all classes have alike.",
        metavar="X",
        shown_default="0",
        ge=0,
        lt=1,
        only={"loss": (CROSS_ENTROPY,)},
        follows_loss=True,
    )
    class_weights: Literal["balanced"] | tuple[float, ...] | None = setting(
        None,
        "How much samples of each class count: balanced, or a number for each class.",
        metavar="LIST",
        shown_default="all alike",
        convert=read_weights,
        given_type="str | Sequence[float] | None",
        only={"loss": (CROSS_ENTROPY,)},
        follows_loss=True,
    )
    balanced_sampling: bool = setting(False, "Draw samples of each class equally often in an epoch.")
    memory_format: Literal["auto", "contiguous", "channels_last"] = setting(
        "auto",
        "How the values of images and kernels lie: contiguous, channels_last, or auto, by the layers.",
        metavar="NAME",
    )
    precision: Literal["fp32", "bf16", "fp16"] = setting(
        "fp32", "Of the forward pass in training: fp32, bf16, or fp16 on an accelerator.", metavar="NAME"
    )
    tf32: bool = setting(False, "Train with the TF32 matrix products of a CUDA device.", shown_default="no")
    augment: str = setting(
        NO_OPERATIONS,
        "What is done to training images, flip,crop:padding=2 say.",
        metavar="OPS",
        convert=read_operations,
        given_type="str | Sequence[str | Mapping[str, Any]] | None",
    )
    erase: float | None = setting(
        None,
        "Share of the training images in which a rectangle is erased.",
        metavar="P",
        shown_default="none",
        gt=0,
        le=1,
    )
    mixup: float | None = setting(
        None, "Mix each training image with another one; 0.2 is usual.", metavar="A", shown_default="off", gt=0, le=1000
    )
    cutmix: float | None = setting(
        None, "Paste a part of another training image; 1 is usual.", metavar="A", shown_default="off", gt=0, le=1000
    )
    validation: float = setting(
        0.0,
        "Share of the training split that is held back to choose the best epoch by.",
        metavar="X",
        shown_default="0",
        ge=0,
        lt=1,
    )
    split_seed: int = setting(0, "Seed of the choice of these samples.", ge=0, lt=2**63)
    monitor: str = setting("loss", "The validation score that chooses: loss, or a metric.", metavar="NAME")
    patience: int | None = setting(
        None, "Epochs without a better score after which a training ends.", shown_default="no end", ge=1, le=100_000
    )
    min_delta: float = setting(0.0, "How much better a score must be to count.", metavar="X", shown_default="0", ge=0)
    on_collapse: Literal["warn", "stop"] = setting(
        "warn", "What to do with a training that sits at chance: warn or stop.", metavar="WHAT"
    )
    input_size: tuple[int, int] | None = setting(
        None,
        "Size to which images are brought, 64 or 48x64.",
        metavar="HxW",
        shown_default="that of the data, or of the weights",
        convert=read_size,
        given_type="int | str | tuple[int, int] | None",
    )
    seed: int = setting(42, "Seed of the initial weights and of the data order.", ge=0, lt=2**63)
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps ...", metavar="NAME")
    threads: int | None = setting(
        None,
        "CPU threads; auto: all for what is worth it, else one.",
        shown_default="auto",
        ge=1,
        le=4096,
        convert=read_number,
        given_type="int | str | None",
    )
    workers: int | None = setting(
        None,
        "Processes that read data sets which are not tensors; auto: one for each core for picture files, else none.",
        shown_default="auto",
        ge=0,
        le=1024,
        convert=read_number,
        given_type="int | str | None",
    )
    processes: int | None = setting(
        None,
        "Processes that train together, each on its part of every batch: docs/guide/scale.md.",
        shown_default="1, or those of torchrun",
        ge=1,
        le=100_000,
    )
    sync_batchnorm: bool = setting(
        False, "Let several processes normalise over the whole batch, on CUDA devices.", shown_default="no"
    )
    capture: bool = setting(True, "Replay what a training step calls, where that has the same bits.")
    compile: bool = setting(False, "Compile the training step: quicker in the long run, and not bit for bit the same.")

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in list_settings()}
        defaults = vars(TrainConfig)
        given = {name: value for name, value in values.items() if value is not None and value is not defaults[name]}
        for name, value in read_settings(given, where="training").items():
            object.__setattr__(self, name, value)


@cache
def list_settings() -> dict[str, Setting]:
    """Return what is declared of each setting, by name, in order."""
    return {each.name: each.metadata[Setting] for each in fields(TrainConfig)}


def complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a record has, and those which came later as all trainings were before."""
    before: dict[str, Any] = {"decay_all": True} if settings.get("weight_decay") else {}
    before["memory_format"] = "contiguous"
    return {**settings, **{name: value for name, value in before.items() if name not in settings}}


@cache
def _list_types() -> dict[str, Any]:
    """Return the type of each setting; evaluating the annotations takes half a millisecond."""
    return get_type_hints(TrainConfig)


def find_form(name: str) -> type:
    """Return the form of a setting on the command line: `bool` for a flag, `dict` for one value of a table at a time,
    `str` for the others.
    """
    annotation = _list_types()[name]
    options = get_args(annotation) or (annotation,)
    return bool if annotation is bool else dict if Mapping[str, Any] in options else str


def name_option(name: str, *, on: bool = True) -> str:
    """Return the option of a setting, `--batch-size`, or the one that turns a flag off."""
    return f"--{'' if on else 'no-'}{list_settings()[name].option or name.replace('_', '-')}"


def read_settings(given: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return the value of every setting: the given one, checked and converted, or the default.

    Raises:
        SettingError, UnknownSettingError, SeveralErrors: every problem at once.
    """
    values = read_values(_list_expected(), given, where=where)
    if values["lr"] is None:
        values["lr"] = DEFAULT_LR[values["optimizer"]]
    return values


@cache
def _list_expected() -> dict[str, Expected]:
    types, expected = _list_types(), {}
    for name, declared in list_settings().items():
        check, default = _make_check(name, declared.only), getattr(TrainConfig, name)
        limits, convert = declared.limits, declared.convert
        expected[name] = Expected(annotation=types[name], default=default, limits=limits, convert=convert, check=check)
    return expected


def _make_check(name: str, only: Mapping[str, tuple[str, ...]]) -> Any:
    default = getattr(TrainConfig, name)

    def check(value: Any, others: Mapping[str, Any]) -> None:
        for other, values in only.items():
            found = others.get(other, values[0])
            if value != default and found not in values:
                owner = f"is a setting of {' and '.join(values)}, not" if len(values) <= 2 else "is no setting"
                raise ValueError(f"{owner} of {found}")

    return check if only else None


def check_settings(given: Mapping[str, Any]) -> None:
    """Check settings one by one, those of a file say, to which others may come before all must go together.

    Raises:
        SettingError, UnknownSettingError, SeveralErrors: every problem at once.
    """
    expected = {name: replace(one, check=None) for name, one in _list_expected().items()}
    read_values(expected, given, where="training")


def resolve_config(*sources: Mapping[str, Any]) -> TrainConfig:
    """Combine the settings of several sources, the weakest first: a model's recommendation, then what is given, say.

    A lr, momentum or weight decay belongs to the optimizer of its source, or of those below it: where a stronger source
    chooses another one, they do not apply. So do params of the loss, label smoothing and class weights to the loss.
    None counts as not given.

    Raises:
        SettingError, UnknownSettingError, SeveralErrors: every problem at once.
    """
    given: dict[str, Any] = {}
    for source in keep_fitting(sources):
        given |= source
    return TrainConfig(**read_settings(given, where="training"))


def keep_fitting(sources: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings of each source, the weakest first, without those for another optimizer or loss than the used
    one.
    """
    given = [{name: value for name, value in source.items() if value is not None} for source in sources]
    declared = list_settings()
    optimizer = [name for name, each in declared.items() if each.follows_optimizer]
    loss = [name for name, each in declared.items() if each.follows_loss]
    return _keep(_keep(given, "optimizer", TrainConfig.optimizer, optimizer), "loss", CROSS_ENTROPY, loss)


def _keep(given: list[dict[str, Any]], key: str, default: str, own: Sequence[str]) -> list[dict[str, Any]]:
    """Return the settings of each source without those of `own` that are for another `key` than the used one."""
    chosen = (read_loss(source.get(key)) for source in given)
    used = list(accumulate(chosen, lambda below, own: below if own is None else own, initial=default))
    return [
        {name: value for name, value in source.items() if found == used[-1] or name not in own}
        for source, found in zip(given, used[1:], strict=True)
    ]
