"""Training in bf16 and fp16 gives the bits of torch.autocast by hand; TF32 is on while a CUDA device trains."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo.cli.main import main
from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.errors import DivergedError, DryRunError, SettingError, ZooError
from zoo.models.device import use_threads
from zoo.models.tf32 import use_tf32
from zoo.registry.global_state import keep_state, read_state
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.registry.specs import SPEC_ATTRIBUTE
from zoo.training.careful_step import SKIPS
from zoo.training.precision import check_precision, lower
from zoo.training.trainer import Trainer, evaluate

CPU = torch.device("cpu")
SMALL = {"train_size": 200, "test_size": 50}
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with use_threads(1):
        yield


def make_batches(samples: int, size: int, seed: int | None = 42, scale: float = 1.0) -> TensorBatches:
    generator = torch.Generator().manual_seed(0)
    images = scale * torch.randn(samples, 1, 8, 8, generator=generator)
    targets = torch.randint(5, (samples,), generator=generator)
    settings = BatchSettings(batch_size=size, device=CPU, shuffle_seed=seed)
    return TensorBatches(images, targets, Preprocess(), settings)


def build() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))


def train(trained: nn.Module | None = None, **settings: Any) -> tuple[nn.Module, list[Any]]:
    model = trained or build()
    config = TrainConfig(**{"batch_size": 10, "lr": 0.05, **settings})
    return model, Trainer(model, config, CPU).fit(make_batches(93, 10), make_batches(20, 20, None))


def train_by_hand(precision: str, clip: float = 0.0, accumulate: int = 1) -> tuple[nn.Module, list[float], list[float]]:
    """Train three epochs as the documentation of torch.amp has it; return the model, train and test losses."""
    model, losses, tests = build(), [], []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 3 * math.ceil(10 / accumulate))
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")
    size = 16 if precision == "fp16" else 1  # fp16 has no room for the sum of the losses of ten samples
    for epoch in range(3):
        total, waiting = 0.0, list(make_batches(93, 10).epoch(epoch))
        model.train()
        while waiting:
            group, waiting = waiting[:accumulate], waiting[accumulate:]
            optimizer.zero_grad()
            for inputs, targets in group:
                with torch.autocast("cpu", dtype=DTYPES[precision]):
                    loss = nn.functional.cross_entropy(model(inputs), targets)
                scaler.scale(loss * (len(targets) / size) if accumulate > 1 else loss).backward()
                total += loss.item() * len(targets)
            scaler.unscale_(optimizer)
            if accumulate > 1:
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.grad /= sum(len(targets) for _, targets in group) / size
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            scale = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            if scaler.get_scale() >= scale:
                schedule.step()
        losses.append(total / 93)
        tests.append(evaluate(model, make_batches(20, 20, None), {})["loss"])
    return model, losses, tests


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("more", [{}, {"clip": 0.3, "accumulate": 4}])
def test_it_gives_the_bits_of_the_loop_by_hand(precision: str, more: dict[str, Any]) -> None:
    expected, losses, tests = train_by_hand(precision, **more)
    model, history = train(precision=precision, schedule="linear", **more)
    assert [epoch["train"]["loss"] for epoch in history] == losses
    assert [epoch["test"]["loss"] for epoch in history] == tests, "evaluation is in float32"
    assert all(map(torch.equal, model.state_dict().values(), expected.state_dict().values()))
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    _, plain = train(schedule="linear", **more)
    assert losses != [epoch["train"]["loss"] for epoch in plain]
    assert losses == pytest.approx([epoch["train"]["loss"] for epoch in plain], abs=0.05)


def test_forward_is_lowered_and_the_loss_is_not() -> None:
    seen: list[torch.dtype] = []

    def watched(logits: Tensor, targets: Tensor) -> Tensor:
        seen.extend([logits.dtype, (logits @ logits.T).dtype])
        return nn.functional.cross_entropy(logits, targets)

    model = build()
    model[0].register_forward_hook(lambda *parts: seen.append(parts[2].dtype))
    Trainer(model, TrainConfig(epochs=1, precision="bf16"), CPU, loss_function=watched).fit(
        make_batches(20, 20), make_batches(20, 20, None)
    )
    assert seen == [torch.bfloat16, torch.float32, torch.float32, torch.float32]


def test_outputs_of_any_form_are_raised() -> None:
    class Several(nn.Module):
        def forward(self, inputs: Tensor) -> Any:
            half = inputs.bfloat16()
            return half, [half], {"aux": half}, torch.tensor(3)

    first, (second,), third, count = lower(Several(), "bf16", CPU)(torch.ones(2))
    assert {first.dtype, second.dtype, third["aux"].dtype} == {torch.float32} and count.dtype == torch.int64
    module = Several()
    assert lower(module, "fp32", CPU) is module


class Overflowing(nn.Module):
    """Its gradients are not finite in the steps of that number."""

    def __init__(self, steps: range) -> None:
        super().__init__()
        self.steps, self.step = steps, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.step += self.training
        if self.training and self.step in self.steps:
            inputs.register_hook(lambda gradient: gradient * torch.inf)
        return inputs


def test_a_step_that_overflows_is_left_out_and_neither_schedule_nor_average_moves() -> None:
    model, history = train(
        nn.Sequential(build(), Overflowing(range(3, 6))), precision="fp16", schedule="linear", ema=0.9
    )
    assert len(history) == 3 and all(math.isfinite(epoch["train"]["loss"]) for epoch in history)
    trainer = Trainer(
        nn.Sequential(build(), Overflowing(range(1, 4))), TrainConfig(batch_size=10, precision="fp16", ema=0.9,
        schedule="linear"), CPU,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of a schedule that moves before its optimizer
        trainer.fit(make_batches(93, 10), make_batches(20, 20, None))
    parts = trainer.state()["parts"]
    assert parts["scaler"]["scale"] == 65536 / 8
    assert parts["schedule"]["each_step"]["last_epoch"] == parts["average"]["n_averaged"] == 27
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())


def test_gradients_that_no_scale_helps_are_a_divergence() -> None:
    model = nn.Sequential(build(), Overflowing(range(1, 1000)))
    with pytest.raises(DivergedError, match=f"the gradients of {SKIPS} steps in a row were not finite in fp16"):
        train(model, precision="fp16", epochs=9)
    assert model[1].step == SKIPS


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ("--precision fp16", ["precision: fp16 is for accelerators, got 'fp16'. On a CPU use bf16"]),
        ("--tf32", ["tf32: is for CUDA devices, not for cpu"]),
        (
            "--precision fp16 --tf32 --unfreeze-at 9",
            ["precision: fp16 is for", "tf32: is for CUDA", "unfreeze_at: must be at most 3"],
        ),
        ("--precision half", ["precision: must be one of 'fp32', 'bf16' or 'fp16', got 'half'"]),
    ],
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_what_a_device_cannot_is_refused_before_anything_is_loaded(
    command: str, arguments: str, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # There is no such folder to load data from.
    where = ["--dataset", "fashionmnist", "--data-dir", str(tmp_path / "none"), "--device", "cpu"]
    assert main([command, *where, *(["--offline"] if command == "run" else []), *arguments.split()]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(lines)
    assert all(line.startswith(f"Error: {start}") for line, start in zip(said, lines, strict=True))


def test_evaluation_asks_nothing_of_the_precision_that_a_model_recommends(tmp_path: Path) -> None:
    @zoo.model(name="halved", train={"precision": "fp16"})
    def halved(*, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), num_classes))

    registry = zoo.Registry.discover()
    registry.add(*getattr(halved, SPEC_ATTRIBUTE))
    settings: dict[str, Any] = {"registry": registry, "device": "cpu"}
    with pytest.raises(SettingError, match="fp16 is for accelerators"):
        zoo.run("local/halved", "shapes", **settings)
    run = zoo.run("local/halved", "shapes", precision="bf16", dataset_params=SMALL, runs_dir=tmp_path, **settings)
    assert run.train_config["precision"] == "bf16"
    assert zoo.evaluate(run.weights, **settings).metrics == run.metrics


def test_a_model_that_cannot_compute_in_it_is_told_before_the_training(tmp_path: Path) -> None:
    class Copying(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            logits = super().forward(inputs.flatten(1))
            copied = torch.zeros(logits.shape)
            copied[torch.arange(len(logits))] = logits  # it takes no values of another dtype
            return copied

    @zoo.model(name="copying")
    def copying(*, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return Copying(math.prod(input_shape), num_classes)

    registry = zoo.Registry.discover()
    registry.add(*getattr(copying, SPEC_ATTRIBUTE))
    where = {"registry": registry, "dataset_params": SMALL, "device": "cpu"}
    needed = "needs a forward pass in training mode in bfloat16 for inputs of"
    with pytest.raises(DryRunError, match=needed):
        zoo.run("local/copying", "shapes", precision="bf16", runs_dir=tmp_path, **where)
    assert not list(tmp_path.iterdir())
    assert zoo.run("local/copying", "shapes", epochs=1, runs_dir=tmp_path, **where).metrics


def pretend(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> torch.device:
    """Let torch seem to have a CUDA device of such a capability."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    return torch.device("cuda")


def test_an_old_device_emulates_bf16_and_has_no_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    device = pretend(monkeypatch, (7, 5))
    with pytest.raises(ZooError) as caught:
        check_precision(TrainConfig(precision="bf16", tf32=True), device)
    assert [str(problem) for problem in caught.value.problems] == [
        "precision: cuda only emulates bf16, got 'bf16'. Use fp32",
        "tf32: Tesla T4 has no TF32",
    ]
    check_precision(TrainConfig(tf32=True), pretend(monkeypatch, (8, 0)))
    check_precision(TrainConfig(precision="bf16"), CPU)


def test_a_device_that_fails_says_so() -> None:
    with pytest.raises(
        SettingError, match=r"^precision: meta cannot compute in bf16: .*'meta', got 'bf16'\. Use fp32$"
    ):
        check_precision(TrainConfig(precision="bf16"), torch.device("meta"))


def read_tf32() -> tuple[str, ...]:
    backends: Any = torch.backends
    operations = (backends.cuda.matmul, backends.mkldnn.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    return tuple(operation.fp32_precision for operation in operations)


@pytest.fixture
def products() -> Iterator[Any]:
    """The backends, put back as they were."""
    backends: Any = torch.backends
    before = read_tf32()
    yield backends
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = True
    backends.cuda.matmul.fp32_precision, backends.mkldnn.matmul.fp32_precision = before[:2]
    backends.cudnn.conv.fp32_precision, backends.cudnn.rnn.fp32_precision = before[2:]


@pytest.mark.parametrize("mine", ["nothing", "ieee", "all", "one backend"])
def test_tf32_is_on_for_the_body_and_then_what_it_was(mine: str, products: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if mine == "ieee":
            products.cudnn.conv.fp32_precision = "ieee"
        elif mine == "all":
            torch.set_float32_matmul_precision("medium")
        elif mine == "one backend":
            products.cuda.matmul.fp32_precision = "tf32"
        before, state = read_tf32(), read_state()
        with pytest.raises(KeyError), use_tf32(True):
            assert read_tf32()[::2] == ("tf32", "tf32") and torch.get_float32_matmul_precision() == "high"
            assert read_state()["matmul precision"] == "high"
            raise KeyError
        assert read_tf32() == before and read_state() == state
        with use_tf32(False):
            assert read_tf32() == (*before[:2], "ieee", "ieee")
        assert read_tf32() == before and read_state() == state


@pytest.mark.parametrize("mine", [True, False])
def test_a_model_may_do_without_cudnn_for_a_while(mine: bool, products: Any) -> None:
    products.cudnn.allow_tf32 = mine
    for wanted in (True, False):
        with use_tf32(wanted):
            with products.cudnn.flags(enabled=False):  # reads the flag of cuDNN as a whole
                pass
            assert products.cudnn.allow_tf32 is wanted
        assert products.cudnn.allow_tf32 is mine


def test_the_precision_of_one_backend_is_put_back_like_that_of_all(products: Any) -> None:
    before = read_tf32()
    with keep_state() as changed:
        products.cuda.matmul.fp32_precision = "tf32"
    # What the other backend says depends on whether the precision of all has been set before in this process.
    assert changed["matmul precision"].startswith("matmul precision (highest to tf32 ")
    assert read_state()["matmul precision"] == "highest" and read_tf32()[0] in (before[0], "ieee")


def test_tf32_is_on_in_training_where_it_is_wanted_and_off_in_evaluation(products: Any) -> None:
    before = read_tf32()[::2]
    assert products.cudnn.conv.fp32_precision == "tf32"  # or torch has become exact by itself
    for wanted in (True, False):
        seen = []
        model = build()
        model.register_forward_hook(lambda model, *_: seen.append((model.training, read_tf32()[::2])))  # noqa: B023
        trainer = Trainer(model, TrainConfig(epochs=2, tf32=wanted, capture=False), CPU)
        trainer.fit(make_batches(64, 32), make_batches(20, 20, None))
        on, off = [(True, ("tf32", "tf32"))] * 2, [(True, (before[0], "ieee"))] * 2
        assert seen == [*(on if wanted else off), (False, (before[0], "ieee"))] * 2
    assert read_tf32()[::2] == before


DEVICES: list[tuple[str, dict[str, Any]]] = [
    ("cpu", {"precision": "bf16", "ema": 0.9, "clip": 1.0}),
    *(
        ("cuda", settings)
        for settings in ({"precision": "fp16", "ema": 0.9, "clip": 1.0}, {"precision": "bf16"}, {"tf32": True})
        if torch.cuda.is_available()
    ),
]


@pytest.mark.parametrize(("device", "settings"), DEVICES)
def test_what_a_device_trains_is_proved_and_evaluated_alike(
    device: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    run = zoo.run("tinyvgg", "shapes", dataset_params=SMALL, runs_dir=tmp_path, device=device, epochs=1, **settings)
    assert zoo.verify(run.weights).checks["golden samples"]
    assert zoo.evaluate(run.weights, device=device).metrics == pytest.approx(run.metrics, abs=1e-5)
