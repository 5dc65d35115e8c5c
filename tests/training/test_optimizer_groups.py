"""Groups of the optimizer, its own params, unfreezing, and the plateau schedule: each as one writes it by hand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

import zoo
from zoo.cli.main import main
from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.errors import UsageError
from zoo.models.device import use_threads
from zoo.models.freezing import freeze
from zoo.models.head import find_head
from zoo.records.repeat import write_command
from zoo.records.runs import read_record
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training.choice import Choice
from zoo.training.optimizers import build_optimizer
from zoo.training.schedules import build_schedule
from zoo.training.trainer import Trainer

CPU = torch.device("cpu")
SMALL = {"train_size": 200, "test_size": 50}
SIZES = ["--dataset-param", "train_size=200", "--dataset-param", "test_size=50"]
HEAD = ["5.weight", "5.bias"]
BODY = ["1.weight", "1.bias", "2.weight", "2.bias"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with use_threads(1):
        yield


def make_batches(samples: int, size: int, seed: int | None = 42) -> TensorBatches:
    generator = torch.Generator().manual_seed(0)
    split = torch.randn(samples, 1, 3, 4, generator=generator), torch.randint(5, (samples,), generator=generator)
    return TensorBatches(*split, Preprocess(), BatchSettings(batch_size=size, device=CPU, shuffle_seed=seed))


def build() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 5))


def train(choice: Choice | None = None, *, frozen: Sequence[str] = (), **settings: Any) -> Trainer:
    """Train as zoo does, 93 samples in batches of 10 for four epochs."""
    model, config = build(), TrainConfig(**{"epochs": 4, "batch_size": 10, **settings})
    later = freeze(model, list(frozen))
    head = HEAD if config.head_lr is not None else ()
    trainer = Trainer(model, config, CPU, head=head, later=later if config.unfreeze_at else ())
    torch.manual_seed(1)
    trainer.fit(make_batches(93, 10), make_batches(20, 20, None), choice)
    return trainer


def train_by_hand(
    model: nn.Sequential,
    optimizer: torch.optim.Optimizer,
    *,
    each_step: Any = None,
    before_epoch: Callable[[int], None] = lambda epoch: None,
    after_epoch: Callable[[float], None] = lambda loss: None,
) -> list[float]:
    """Train with plain torch; return the test loss of each epoch."""
    losses = []
    torch.manual_seed(1)
    for epoch in range(4):
        before_epoch(epoch + 1)
        model.train()
        for inputs, targets in make_batches(93, 10).epoch(epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            if each_step:
                each_step.step()
        model.eval()
        with torch.no_grad():
            ((inputs, targets),) = make_batches(20, 20, None).epoch(0)
            each = nn.functional.cross_entropy(model(inputs), targets, reduction="none")
        losses.append(each.double().mean().item())
        after_epoch(losses[-1])
    return losses


def same(trainer: Trainer, model: nn.Module) -> bool:
    ours, theirs = trainer.model.state_dict(), model.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_groups_with_a_schedule_give_the_bits_of_the_loop_by_hand() -> None:
    model = build()
    one, norm, head = model[1], model[2], model[5]
    groups: list[dict[str, Any]] = [
        {"params": [one.weight]},
        {"params": [one.bias, norm.weight, norm.bias], "weight_decay": 0.0},
        {"params": [head.weight], "lr": 0.02},
        {"params": [head.bias], "lr": 0.02, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.3, betas=(0.8, 0.95), eps=1e-6, amsgrad=True)
    losses = train_by_hand(model, optimizer, each_step=lr_scheduler.CosineAnnealingLR(optimizer, 40))
    settings: dict[str, Any] = {
        **{"optimizer": "adamw", "lr": 0.01, "head_lr": 0.02, "weight_decay": 0.3, "schedule": "cosine"},
        "optimizer_params": {"betas": "0.8,0.95", "eps": "1e-6", "amsgrad": "true"},
    }
    trainer = train(**settings)
    assert [epoch["test"]["loss"] for epoch in trainer.history] == losses and same(trainer, model)
    for change in ({"head_lr": None}, {"decay_all": True}, {"weight_decay": 0.0}, {"optimizer_params": None}):
        other = train(**{**settings, **change})
        assert other.history[-1]["test"]["loss"] != losses[-1], f"{change} changes nothing"


def test_a_decay_of_all_is_that_of_one_group() -> None:
    model = build()
    train_by_hand(model, torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1, nesterov=True, momentum=0.9))
    settings: dict[str, Any] = {"weight_decay": 0.1, "momentum": 0.9, "optimizer_params": {"nesterov": True}}
    trainer = train(**settings, decay_all=True)
    assert same(trainer, model) and len(trainer.optimizer.param_groups) == 1
    assert len(train(momentum=0.9).optimizer.param_groups) == 1, "without decay there is nothing to tell apart"


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_unfrozen_is_as_if_it_came_to_the_optimizer_then(optimizer: str) -> None:
    model = build()
    frozen = [model[1].weight, model[1].bias, model[2].weight, model[2].bias]
    for parameter in frozen:
        parameter.requires_grad_(False)
    rest = list(model[5].parameters())
    made: torch.optim.Optimizer = (
        torch.optim.SGD(rest, lr=0.05, momentum=0.9) if optimizer == "sgd" else torch.optim.AdamW(rest, 0.05)
    )
    if optimizer == "adamw":
        made.param_groups[0]["weight_decay"] = 0.0
    moved = []

    def before(epoch: int) -> None:
        if epoch == 3:
            for parameter in frozen:
                parameter.requires_grad_(True)
            made.add_param_group({"params": frozen})
            if optimizer == "adamw":
                made.param_groups[-1]["weight_decay"] = 0.0

    def train_frozen_norm(epoch: int) -> None:
        before(epoch)
        moved.append(model[2].running_mean.clone())

    # A norm that is frozen whole keeps its statistics, so by hand it stays in eval mode until then.
    original = model.train

    def keep_norm(mode: bool = True) -> nn.Sequential:
        original(mode)
        if not model[2].weight.requires_grad:
            model[2].eval()
        return model

    model.train = keep_norm  # type: ignore[method-assign]
    losses = train_by_hand(model, made, before_epoch=train_frozen_norm)
    settings: dict[str, Any] = {"lr": 0.05, "optimizer": optimizer, **({"momentum": 0.9} if optimizer == "sgd" else {})}
    trainer = train(frozen=["1.*", "2.*"], unfreeze_at=3, **settings)
    assert [epoch["test"]["loss"] for epoch in trainer.history] == losses and same(trainer, model)
    assert torch.equal(moved[0], moved[2]) and not torch.equal(moved[2], moved[3])


def test_a_schedule_goes_on_over_what_is_unfrozen() -> None:
    trainer = train(frozen=["1.*"], unfreeze_at=3, schedule="linear", head_lr=0.5)
    (body, head) = trainer.optimizer.param_groups
    assert len(body["params"]) == 4 and len(head["params"]) == 2
    assert [epoch["lr"] for epoch in trainer.history] == pytest.approx([0.1 * (31 - 10 * e) / 40 for e in range(4)])


def test_a_plateau_lowers_the_rate_as_by_hand() -> None:
    def run(choice: Choice, **settings: Any) -> Trainer:
        return train(choice, lr=0.5, schedule="plateau", gamma=0.3, **settings)

    # Every score is worse than a half better, so each second epoch lowers the rate.
    model = build()
    groups: list[dict[str, Any]] = [
        {"params": list(model[:5].parameters())},
        {"params": model[5].parameters(), "lr": 2},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.5)
    falls = lr_scheduler.ReduceLROnPlateau(optimizer, "min", 0.3, patience=0, threshold=0.5, threshold_mode="abs")
    rates = []

    def after(loss: float) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        falls.step(loss)

    train_by_hand(model, optimizer, after_epoch=after)
    trainer = run(Choice("loss", False, min_delta=0.5), plateau_epochs=1, head_lr=2.0)
    assert [epoch["lr"] for epoch in trainer.history] == rates and same(trainer, model) and rates[-1] < 0.05


@pytest.mark.parametrize(
    ("choice", "scores", "rates"),
    [
        (Choice("loss", False), [3.0, 2.0, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0]),
        (Choice("accuracy", True), [3.0, 2.0, 1.0, 0.5], [1.0, 1.0, 0.5, 0.5]),
        (Choice("accuracy", True), [0.1, 0.2, 0.3, 0.4], [1.0, 1.0, 1.0, 1.0]),
        (Choice("loss", False), [1.0, 1.0, 0.9, 0.9], [1.0, 1.0, 1.0, 1.0]),
        (Choice("loss", False), [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.5, 0.5]),
        (Choice("loss", False, min_delta=0.5), [1.0, 0.9, 0.8, 0.7], [1.0, 1.0, 0.5, 0.5]),
    ],
)
def test_a_plateau_goes_by_the_score_that_chooses(choice: Choice, scores: list[float], rates: list[float]) -> None:
    config = TrainConfig(schedule="plateau", plateau_epochs=2, gamma=0.5, lr=1.0)
    optimizer = build_optimizer(build(), config)
    schedule = build_schedule(optimizer, config, 10, choice)
    assert schedule is not None
    found = []
    for score in scores:
        schedule.finish_epoch({"loss": 0.0, "accuracy": 0.0, choice.monitor: score})
        found.append(optimizer.param_groups[0]["lr"])
    assert found == rates


def test_a_plateau_may_follow_a_warm_up() -> None:
    trainer = train(Choice("loss", True), schedule="plateau", gamma=0.5, plateau_epochs=1, lr=0.3, warmup=14, epochs=5)
    expected = [0.3 * 10 / 15, 0.3, 0.15, 0.075, 0.0375]
    assert [epoch["lr"] for epoch in trainer.history] == pytest.approx(expected)


def test_a_schedule_says_its_state_and_goes_on_from_it() -> None:
    config = TrainConfig(schedule="plateau", plateau_epochs=3, warmup=5, gamma=0.5)
    optimizers = [build_optimizer(build(), config) for _ in range(2)]
    first, second = (build_schedule(optimizer, config, 10, Choice("loss", False)) for optimizer in optimizers)
    assert first is not None and second is not None
    for optimizer in optimizers:
        optimizer.step()
    for _ in range(7):
        first.step()
    for loss in (1.0, 2.0, 2.0):
        first.finish_epoch({"loss": loss})
    optimizers[1].load_state_dict(optimizers[0].state_dict())
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.state_dict() == first.state_dict() and second.rate == 0.1
    second.step()
    assert optimizers[1].param_groups[0]["lr"] == pytest.approx(0.1), "the warm-up begins anew"
    second.finish_epoch({"loss": 2.0})
    assert optimizers[1].param_groups[0]["lr"] == pytest.approx(0.05), "epochs without a better score are forgotten"


class Late(nn.Module):
    """A model whose last layer to run is not the last one that it has, and which has a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.head = nn.Linear(8, 5)
        self.body = nn.Linear(12, 8)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(inputs.flatten(1))) * self.scale
        return logits


def test_the_head_is_what_is_new_or_the_last_layer_that_runs() -> None:
    inputs, names = torch.zeros(2, 1, 3, 4), ["scale", "head.weight", "head.bias", "body.weight", "body.bias"]
    assert find_head(Late().train(), inputs) == ["head.weight", "head.bias"]
    assert find_head(Late(), inputs, new=["body.weight"]) == ["body.weight"]
    assert find_head(Late(), inputs, new=names) == ["head.weight", "head.bias"], "all is new, as without a file"
    model = Late()
    freeze(model, ["head.*"])
    with pytest.raises(UsageError, match=r"head_lr: the head is frozen \(head.weight, head.bias\)"):
        find_head(model, inputs)
    assert find_head(model, inputs, later=["head.weight"]) == ["head.weight", "head.bias"]
    with pytest.raises(UsageError, match="head_lr: no layer"):
        find_head(nn.Flatten(), inputs)


def test_groups_hold_each_parameter_once() -> None:
    model = Late()
    optimizer = build_optimizer(
        model, TrainConfig(weight_decay=0.1, head_lr=1.0), head=["head.weight", "head.bias"], later=[]
    )
    told = [(len(group["params"]), group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    assert told == [(1, 0.1, 0.1), (2, 0.1, 0.0), (1, 1.0, 0.1), (1, 1.0, 0.0)]


def read_run(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return table


def run_command(arguments: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["run", *SIZES, "--runs-dir", str(runs), "--json", *shlex.split(arguments)]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


@pytest.mark.promise("P15")
def test_a_run_is_repeated_by_the_command_that_show_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "--model tinyvgg --epochs 2 --optimizer adamw --weight-decay 0.1 --head-lr 0.01 --schedule plateau "
        "--plateau-epochs 1 --gamma 0.5 --validation 0.2 --min-delta 9 "
        "--optimizer-param betas=0.8,0.9 --optimizer-param amsgrad=true"
    )
    first = run_command(arguments, tmp_path, capsys)
    config = first["train_config"]
    assert config["optimizer_params"] == {"betas": [0.8, 0.9], "amsgrad": True} and config["decay_all"] is False
    assert [epoch["lr"] for epoch in first["history"]] == [0.001, 0.001]
    record = read_record(Path(first["run"]) / "run.json")
    recipe = write_command(record)
    assert recipe is not None and "--optimizer-param betas=0.8,0.9" in recipe and record.steps == 5
    assert main([*shlex.split(recipe)[1:], "--runs-dir", str(tmp_path), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["metrics"] == first["metrics"] and again["history"][1]["train"] == first["history"][1]["train"]
    without = run_command(arguments.replace("--head-lr 0.01", ""), tmp_path, capsys)
    assert without["metrics"] != first["metrics"]


@pytest.mark.promise("P14")
def test_a_record_without_a_word_on_decay_decayed_all(tmp_path: Path) -> None:
    plain = zoo.run(dataset_params=SMALL, epochs=1, runs_dir=tmp_path)
    decayed = zoo.run(dataset_params=SMALL, epochs=1, runs_dir=tmp_path, weight_decay=0.1, decay_all=True)
    for result, said in ((plain, False), (decayed, True)):
        path, table = result.run / "run.json", read_run(result.run)
        assert write_command(read_record(path)).split().count("--decay-all") == said  # type: ignore[union-attr]
        del table["train_config"]["decay_all"]
        path.write_text(json.dumps(table), encoding="utf-8")
        assert write_command(read_record(path)).split().count("--decay-all") == said  # type: ignore[union-attr]


def test_weights_say_what_is_frozen_in_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = run_command("--model tinyvgg --epochs 1", tmp_path, capsys)["weights"]
    common = f"--init {source} --freeze block_1.* --validation 0.2"
    thawed = run_command(f"{common} --epochs 3 --unfreeze-at 2 --monitor accuracy --min-delta 0", tmp_path, capsys)
    folder = Path(thawed["run"])
    assert read_run(folder)["frozen"] == ["block_1.*"]
    expected = {"last.safetensors": [], "weights.safetensors": ["block_1.*"] if thawed["best"]["epoch"] < 2 else []}
    # With a gain that no epoch can have, the first one is the best, and then all was frozen.
    first = run_command(f"{common} --epochs 2 --unfreeze-at 2 --min-delta 99", tmp_path, capsys)
    for run, names in (
        (folder, expected),
        (Path(first["run"]), {"last.safetensors": [], "weights.safetensors": ["block_1.*"]}),
    ):
        for name, frozen in names.items():
            assert main(["show", str(run / name), "--json"]) == 0
            assert (json.loads(capsys.readouterr().out)["metadata"].get("frozen") or []) == frozen
    before, last = zoo.load_model(source).state_dict(), zoo.load_model(folder / "last.safetensors").state_dict()
    assert not torch.equal(before["block_1.0.weight"], last["block_1.0.weight"])
    kept = zoo.load_model(Path(first["run"]) / "weights.safetensors").state_dict()
    assert torch.equal(before["block_1.0.weight"], kept["block_1.0.weight"])
    # A training that starts from what was trained whole freezes nothing, and its command says so.
    following = run_command(f"--init {folder / 'last.safetensors'} --epochs 1", tmp_path, capsys)
    assert "frozen" not in read_run(Path(following["run"]))
    recipe = write_command(read_record(folder / "run.json"))
    assert recipe is not None and "--freeze 'block_1.*'" in recipe and "--unfreeze-at 2" in recipe


def test_what_the_model_itself_does_not_train_stays_so(tmp_path: Path) -> None:
    plugin = tmp_path / "fixed.py"
    plugin.write_text(
        "import zoo\nfrom torch import nn\n\n@zoo.model(name='fixed')\n"
        "def fixed(*, input_shape, num_classes):\n"
        "    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.Linear(8, 8), nn.Linear(8, num_classes))\n"
        "    model[1].requires_grad_(False)\n    return model\n",
        encoding="utf-8",
    )
    options: dict[str, Any] = {"plugins": [plugin], "dataset_params": SMALL, "runs_dir": tmp_path}
    start = zoo.run("fixed", epochs=0, **options)
    done = zoo.run("fixed", epochs=2, freeze=["[12].*"], unfreeze_at=2, **options)
    first, last = (zoo.load_model(run.weights, plugins=[plugin]).state_dict() for run in (start, done))
    assert [name for name in first if torch.equal(first[name], last[name])] == ["1.weight", "1.bias"]


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ("--optimizer-param nestrov=1", ["optimizer 'sgd' has no setting 'nestrov'. Did you mean 'nesterov'?"]),
        ("--optimizer adam --optimizer-param nesterov=true", ["optimizer 'adam' has no setting 'nesterov'"]),
        ("--optimizer-param nesterov=true", ["optimizer sgd: Nesterov momentum requires a momentum"]),
        ("--optimizer-param nesterov=maybe", ["nesterov: must be true or false, got 'maybe'"]),
        ("--optimizer adam --optimizer-param betas=0.9,1.5", ["optimizer adam: Invalid beta parameter at index 1"]),
        ("--optimizer adam --optimizer-param betas=a,0.9", ["betas.0: must be a number, got 'a'"]),
        ("--optimizer adam --optimizer-param eps=nan", ["eps: must be finite, got 'nan'"]),
        ("--optimizer-param lr=1 --lr 0.1", ["optimizer_params.lr: is a setting of its own, got '1'. Give it as --lr"]),
        (
            "--optimizer-param momentum=0.9 --optimizer-param maximize=true --optimizer-param weight_decay=1",
            [
                "optimizer_params.maximize: is what a run decides itself, got 'true'. Leave it out",
                "optimizer_params.momentum: is a setting of its own, got '0.9'. Give it as --momentum",
                "optimizer_params.weight_decay: is a setting of its own, got '1'. Give it as --weight-decay",
            ],
        ),
        (
            "--optimizer adam --schedule one-cycle --optimizer-param betas=0.9,0.99",
            ["optimizer_params.betas: is what a one-cycle schedule sets in each step"],
        ),
        ("--decay-all", ["decay_all: needs a weight decay, got True. Add --weight-decay 0.01"]),
        ("--head-lr 0", ["head_lr: must be above 0.0, got '0'"]),
        ("--model tinyvgg --head-lr 1 --freeze classifier.*", ["head_lr: the head is frozen (classifier."]),
        ("--freeze *.1.* --unfreeze-at 4", ["unfreeze_at: must be at most 3, the epochs of the training, got 4"]),
        ("--freeze *.1.* --unfreeze-at 1", ["unfreeze_at: must be at least 2, got '1'"]),
        ("--unfreeze-at 2", ["unfreeze_at: nothing is frozen, got 2. Freeze something, --freeze 'features.*' say"]),
        ("--schedule plateau", ["schedule: needs a validation split to see a plateau, got 'plateau'. Add --valid"]),
        ("--plateau-epochs 2", ["plateau_epochs: is a setting of plateau, not of constant, got '2'"]),
        (
            "--schedule plateau --validation 0.1 --gamma 1 --patience 3",
            [
                "gamma: must be below 1.0 for a plateau schedule, got 1.0",
                "patience: must be more than plateau_epochs, 3, or",
            ],
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_it_starts(
    arguments: str, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *SIZES, "--runs-dir", str(tmp_path), *arguments.split()]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(said) == len(lines)
    for line, expected in zip(said, lines, strict=True):
        assert line.startswith(f"Error: {expected}")
    assert not list(tmp_path.iterdir())


def test_a_manifest_recommends_params_of_the_optimizer(tmp_path: Path) -> None:
    manifest = tmp_path / "registry.toml"
    manifest.write_text(
        "schema = 1\n[models.quick]\nfactory = 'zoo_plugins.models.tinyvgg:TinyVGG'\n"
        "train = { optimizer = 'adam', epochs = 1, weight_decay = 0.1, decay_all = true, head_lr = 0.1, "
        "optimizer_params = { betas = [0.8, 0.9] } }\n",
        encoding="utf-8",
    )
    options: dict[str, Any] = {"plugins": [manifest], "dataset_params": SMALL, "runs_dir": tmp_path}
    config = zoo.run("quick", **options).train_config
    assert config["optimizer_params"] == {"betas": [0.8, 0.9]} and config["decay_all"] and config["head_lr"] == 0.1
    other = zoo.run("quick", optimizer="sgd", **options).train_config
    assert other["optimizer_params"] is None and not other["decay_all"] and other["head_lr"] is None
