"""TrainConfig: the settings of a training, with their ranges and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from zoo.validation import read_values, reject_bool

Optimizer = Literal["sgd", "adam", "adamw"]
Int = Annotated[int, BeforeValidator(reject_bool)]
Float = Annotated[float, BeforeValidator(reject_bool)]

# The learning rate when none is asked for: the course's for SGD, the default of torch.optim for the others.
DEFAULT_LR: dict[str, float] = {"sgd": 0.1, "adam": 0.001, "adamw": 0.001}


class TrainConfig(BaseModel):
    """The settings of a training; also what a model's manifest entry may recommend under `train`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    epochs: Int = Field(3, ge=0, le=1_000_000, description="passes over the training data; 0 evaluates only")
    batch_size: Int = Field(32, ge=1, description="samples per training step")
    lr: Float = Field(0.0, gt=0, description="learning rate; default 0.1 for sgd, 0.001 for adam and adamw")
    optimizer: Optimizer = Field("sgd", description="sgd, adam or adamw")
    momentum: Float = Field(0.0, ge=0, lt=1, description="momentum of sgd")
    weight_decay: Float = Field(0.0, ge=0, description="decay of the weights in every step")
    seed: Int = Field(42, ge=0, lt=2**63, description="seed of the initial weights and of the data order")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps ...")
    threads: Int | None = Field(
        None, ge=1, le=4096, description="CPU threads; by default chosen from the work of a step"
    )
    workers: Int = Field(0, ge=0, le=1024, description="processes that read data sets which are not tensors")

    @model_validator(mode="before")
    @classmethod
    def _fill_lr(cls, data: dict[str, Any]) -> dict[str, Any]:
        lr = DEFAULT_LR.get(str(data.get("optimizer", "sgd")), DEFAULT_LR["sgd"])
        return data if data.get("lr") is not None else {**data, "lr": lr}

    @field_validator("momentum")
    @classmethod
    def _check_momentum(cls, momentum: float, info: ValidationInfo) -> float:
        if momentum and info.data.get("optimizer", "sgd") != "sgd":
            raise ValueError(f"is a setting of sgd, not of {info.data['optimizer']}")
        return momentum


def resolve_config(recommended: Mapping[str, Any], given: Mapping[str, Any], *, where: str = "training") -> TrainConfig:
    """Combine settings: given ones win over the model's recommendation, which wins over the defaults.

    The recommended lr, momentum and weight decay belong to the recommended optimizer: with another one they do not
    apply. A given None counts as not given.

    Raises:
        SettingError, UnknownSettingError, SeveralErrors: every problem at once.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("optimizer", recommended.get("optimizer", "sgd")) != recommended.get("optimizer", "sgd"):
        own = ("lr", "momentum", "weight_decay")
        recommended = {name: value for name, value in recommended.items() if name not in own}
    return read_values(TrainConfig, {**recommended, **given}, where=where)
