"""The settings as keywords: a type checker then sees a misspelt one in a call of `zoo.run`.

Made from zoo/registry/settings.py by `python tests/whole/test_docs.py`; a test holds both equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict


class Settings(TypedDict, total=False):
    """What `zoo.run`, `zoo.run_seeds` and `zoo.check` take as `**settings`; None means not given."""

    epochs: int | None
    batch_size: int | None
    lr: float | None
    head_lr: float | None
    optimizer: (
        Literal[
            "sgd",
            "adam",
            "adamw",
            "adamax",
            "nadam",
            "radam",
            "rmsprop",
            "adagrad",
            "adadelta",
            "adafactor",
            "asgd",
            "rprop",
        ]
        | None
    )
    optimizer_params: dict[str, Any] | None
    momentum: float | None
    weight_decay: float | None
    decay_all: bool | None
    schedule: Literal["constant", "cosine", "linear", "one-cycle", "step", "exponential", "plateau"] | None
    warmup: int | None
    step_epochs: int | None
    plateau_epochs: int | None
    gamma: float | None
    unfreeze_at: int | None
    accumulate: int | None
    clip: float | None
    clip_value: float | None
    ema: float | None
    loss: str | None
    loss_params: Mapping[str, Any] | None
    label_smoothing: float | None
    class_weights: str | Sequence[float] | None
    balanced_sampling: bool | None
    memory_format: Literal["auto", "contiguous", "channels_last"] | None
    precision: Literal["fp32", "bf16", "fp16"] | None
    tf32: bool | None
    augment: str | Sequence[str | Mapping[str, Any]] | None
    erase: float | None
    mixup: float | None
    cutmix: float | None
    validation: float | None
    split_seed: int | None
    monitor: str | None
    patience: int | None
    min_delta: float | None
    on_collapse: Literal["warn", "stop"] | None
    input_size: int | str | tuple[int, int] | None
    seed: int | None
    device: str | None
    threads: int | str | None
    workers: int | str | None
    processes: int | None
    sync_batchnorm: bool | None
    capture: bool | None
    compile: bool | None
