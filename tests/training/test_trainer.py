from __future__ import annotations

import copy
import math

import pytest
import torch
from reading_back import NoReading
from torch import nn

from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.errors import DivergedError, ZooError
from zoo.models.device import use_threads
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training.losses import Losses
from zoo.training.metrics import MetricError, compute_metrics, share_counts
from zoo.training.optimizers import build_optimizer
from zoo.training.predictions import OutcomeCollector
from zoo.training.step import TrainStep
from zoo.training.trainer import Trainer, evaluate
from zoo_plugins.metrics.accuracy import Accuracy

CPU = torch.device("cpu")
CLASSES = 5


@pytest.fixture(autouse=True)
def one_thread():
    """As a run of small models has it: more threads wait for each other, and for whoever else is on the machine."""
    with use_threads(1):
        yield


def draw(samples, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(samples, 1, 3, 4, generator=generator)
    return images, torch.randint(CLASSES, (samples,), generator=generator)


def batches(split, size, seed=None):
    return TensorBatches(*split, Preprocess(), BatchSettings(batch_size=size, device=CPU, shuffle_seed=seed))


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def normal():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, CLASSES)
    )


def config(**settings):
    return TrainConfig(**{"batch_size": 10, "epochs": 3, **settings})


def by_hand(model, optimizer, train, test, epochs=3):
    """Train as one writes it by hand; return the mean loss per sample of each epoch and of the test after it."""
    history = []
    for epoch in range(epochs):
        model.train()
        total, samples = 0.0, 0
        for inputs, targets in train.epoch(epoch):
            loss = nn.functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(targets)
            samples += len(targets)
        model.eval()
        with torch.no_grad():
            each = [nn.functional.cross_entropy(model(x), y, reduction="none") for x, y in test.epoch(epoch)]
        history.append((total / samples, torch.cat(each).double().mean().item()))
    return history


@pytest.mark.parametrize("build", [linear, normal])
@pytest.mark.parametrize(
    ("settings", "optimizer"),
    [
        ({}, lambda p: torch.optim.SGD(p, lr=0.1)),
        (
            {"momentum": 0.9, "weight_decay": 0.01, "decay_all": True},
            lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
        ),
        ({"optimizer": "adam"}, torch.optim.Adam),
        (
            {"optimizer": "adam", "weight_decay": 0.1, "decay_all": True},
            lambda p: torch.optim.Adam(p, weight_decay=0.1),
        ),
        ({"optimizer": "adamw", "lr": 0.01}, lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0)),
        (
            {"optimizer": "adamw", "weight_decay": 0.2, "decay_all": True},
            lambda p: torch.optim.AdamW(p, weight_decay=0.2),
        ),
    ],
)
def test_training_is_the_loop_one_writes_by_hand(build, settings, optimizer):
    train, test = batches(draw(93), 10, seed=42), batches(draw(40, seed=1), 7)
    expected_model = build()
    expected = by_hand(expected_model, optimizer(expected_model.parameters()), train, test)
    model = build()
    history = Trainer(model, config(**settings), CPU).fit(train, test)
    assert [epoch["train"]["loss"] for epoch in history] == [loss for loss, _ in expected]
    assert [epoch["test"]["loss"] for epoch in history] == pytest.approx([loss for _, loss in expected], abs=1e-12)
    for name, value in expected_model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    assert all(set(epoch) == {"epoch", "lr", "train", "test", "seconds"} for epoch in history)


def test_parameters_without_a_gradient_are_left_alone():
    model = linear()
    model[1].requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    Trainer(model, config(optimizer="adamw", weight_decay=0.5), CPU).fit(batches(draw(30), 10), batches(draw(9), 9))
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["3.weight", "3.bias"]
    assert model[1].weight.grad is None


def test_another_loss_function_trains_and_cross_entropy_evaluates():
    split = draw(30)
    model = linear()

    def smoothed(logits, targets):
        return nn.functional.cross_entropy(logits, targets, label_smoothing=0.3)

    history = Trainer(model, config(epochs=1), CPU, loss_function=smoothed).fit(batches(split, 10), batches(split, 30))
    expected = linear()
    optimizer, total = torch.optim.SGD(expected.parameters(), lr=0.1), 0.0
    for inputs, targets in batches(split, 10).epoch(0):
        loss = smoothed(expected(inputs), targets)
        total += loss.item() * len(targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert history[0]["train"]["loss"] == total / 30
    assert history[0]["test"]["loss"] == pytest.approx(nn.functional.cross_entropy(expected(split[0]), split[1]).item())


def test_training_goes_on_where_it_stopped():
    train, test = batches(draw(93), 10, seed=42), batches(draw(40, seed=1), 7)
    whole, parts = linear(), linear()
    expected = Trainer(whole, config(epochs=4, momentum=0.9), CPU).fit(train, test)
    trainer = Trainer(parts, config(epochs=2, momentum=0.9), CPU)
    trainer.fit(train, test)
    trainer.config = config(epochs=4, momentum=0.9)
    found = trainer.fit(train, test)
    assert [epoch["train"] for epoch in found] == [epoch["train"] for epoch in expected]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    assert trainer.fit(train, test) is found


def test_each_epoch_is_told_once_it_is_done():
    told = []
    trainer = Trainer(linear(), config(), CPU, on_epoch=lambda epoch: told.append((epoch, len(trainer.history))))
    history = trainer.fit(batches(draw(20), 10), batches(draw(20), 10))
    assert told == [(history[0], 1), (history[1], 2), (history[2], 3)]


def test_no_epochs_train_nothing():
    model = linear()
    before = copy.deepcopy(model.state_dict())
    assert Trainer(model, config(epochs=0), CPU).fit(batches(draw(20), 10), batches(draw(20), 10)) == []
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_outcomes_are_those_of_the_last_evaluation():
    collector, model, test = OutcomeCollector(), linear(), draw(25, seed=1)
    plain = Trainer(linear(), config(), CPU).fit(batches(draw(20), 10), batches(test, 10))
    trainer = Trainer(model, config(), CPU, outcomes=collector)
    history = trainer.fit(batches(draw(20), 10), batches(test, 10))
    drop_seconds = [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in history]
    assert drop_seconds == [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in plain]
    with torch.no_grad():
        logits = model.eval()(test[0])
    found = collector.collect("abcde", {})
    assert found.targets.tolist() == test[1].tolist(), "of one evaluation, not of all three"
    assert found.predictions.tolist() == logits.argmax(1).tolist()
    # Each evaluation with a collector starts it anew.
    evaluate(model, batches(test, 25), {}, outcomes=collector)
    assert len(collector.collect("abcde", {}).targets) == 25


@pytest.mark.promise("P11")
@pytest.mark.parametrize("build", [linear, normal])
def test_evaluation_depends_neither_on_batch_size_nor_on_order(build):
    split, model = draw(157), build()
    accuracy = {"accuracy": Accuracy(num_classes=CLASSES)}
    expected = evaluate(model, batches(split, 157), accuracy)
    with torch.no_grad():
        logits = model.eval()(split[0])
    assert expected["accuracy"] == (logits.argmax(1) == split[1]).sum().item() / 157
    assert expected["loss"] == pytest.approx(nn.functional.cross_entropy(logits, split[1]).item(), abs=1e-6)
    for size in (1, 2, 7, 32, 156, 1000):
        for seed in (None, 1, 2):
            found = evaluate(model, batches(split, size, seed), accuracy, epoch=3)
            assert found["accuracy"] == expected["accuracy"]
            assert found["loss"] == pytest.approx(expected["loss"], abs=1e-6)


@pytest.mark.promise("P11")
def test_the_last_batch_counts_by_its_size():
    # The mean of the means of both batches would be 0.5 of each.
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES, bias=False))
    nn.init.zeros_(model[1].weight)
    targets = torch.zeros(11, dtype=torch.int64)
    images = torch.zeros(11, 1, 3, 4)
    images[-1] = 1
    model[1].weight.data[0] = -1
    found = evaluate(model, batches((images, targets), 10), {})["loss"]
    last = nn.functional.cross_entropy(model(images[-1:]), targets[-1:]).item()
    assert found == pytest.approx((10 * math.log(CLASSES) + last) / 11, abs=1e-6)


class Spy(nn.Module):
    """A layer that notes the mode it runs in."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, inputs):
        self.seen.append((self.training, torch.is_grad_enabled()))
        return inputs


def test_train_mode_in_training_and_eval_mode_in_evaluation():
    model = normal()
    model.append(Spy())
    # As a plugin might leave it: partly frozen.
    model[2].eval()
    trainer = Trainer(model, config(epochs=2), CPU)
    states = []
    trainer.on_epoch = lambda epoch: states.append(copy.deepcopy(model[2].state_dict()))
    trainer.fit(batches(draw(30), 10), batches(draw(20), 10))
    assert model[-1].seen == ([(True, True)] * 3 + [(False, False)] * 2) * 2
    assert [int(state["num_batches_tracked"]) for state in states] == [3, 6]
    before = copy.deepcopy(model.state_dict())
    generator = torch.get_rng_state()
    one, other = (evaluate(model.train(), batches(draw(20), 10), {}) for _ in range(2))
    assert one == other
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator), "Dropout drew numbers"


def poisoned(split, sample):
    images, targets = split
    images[sample] = float("nan")
    return images, targets


@pytest.mark.promise("P11")
@pytest.mark.parametrize(("sample", "step"), [(0, 1), (10, 2), (57, 6), (92, 10)])
def test_a_loss_that_is_not_finite_stops_at_its_step(sample, step):
    model = linear()
    steps = []
    model.register_forward_hook(lambda *_: steps.append(1))
    trainer = Trainer(model, config(), CPU)
    with pytest.raises(DivergedError, match=f"^the loss became nan at step {step} of epoch 1") as caught:
        trainer.fit(batches(poisoned(draw(93), sample), 10), batches(draw(10), 10))
    assert caught.value.exit_code == 8
    assert "lr=" in caught.value.fix
    assert len(steps) == step
    assert trainer.history == []


def test_a_learning_rate_that_is_too_high_diverges():
    trainer = Trainer(linear(), config(lr=1e30), CPU)
    with pytest.raises(DivergedError, match=r"^the (test )?loss (became|is) (nan|inf)"):
        trainer.fit(batches(draw(93), 10), batches(draw(10), 10))


def test_a_later_epoch_is_named():
    class Decaying(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(12, CLASSES))
            self.calls = 0

        def forward(self, inputs):
            self.calls += self.training
            return inputs.flatten(1) @ self.weight * (math.inf if self.calls == 15 else 1)

    with pytest.raises(DivergedError, match="at step 5 of epoch 2"):
        Trainer(Decaying(), config(), CPU).fit(batches(draw(93), 10), batches(draw(10), 10))


@pytest.mark.promise("P11")
def test_a_model_of_nan_has_no_accuracy():
    model = linear()
    nn.init.constant_(model[3].bias, float("nan"))
    computed = []
    accuracy = Accuracy(num_classes=CLASSES)
    compute = accuracy.compute
    accuracy.compute = lambda: computed.append(1) or compute()
    with pytest.raises(DivergedError, match=r"^the test loss is nan: a model with such logits has no metrics"):
        evaluate(model, batches(draw(30), 10), {"accuracy": accuracy})
    assert computed == []


@pytest.mark.promise("P11")
def test_a_single_sample_of_nan_is_noticed_in_evaluation():
    with pytest.raises(DivergedError, match="the test loss is nan"):
        evaluate(linear(), batches(poisoned(draw(30), 29), 10), {})


def waiting():
    losses = Losses(torch.device("meta"))
    assert losses.waits
    return losses


def test_losses_of_an_accelerator_are_read_late_and_add_up_the_same():
    values = torch.rand(2500, generator=torch.Generator().manual_seed(0))
    at_once, late = Losses(CPU), waiting()
    for losses in (at_once, late):
        losses.start(0)
        for value in values:
            losses.add(value, 7)
    assert late.steps == 2000
    assert len(late.unread) == 500
    assert late.mean() == at_once.mean()
    assert late.steps == at_once.steps == 2500
    assert late.mean() == pytest.approx(values.double().mean().item(), abs=1e-9)


@pytest.mark.promise("P11")
def test_a_late_reading_names_the_first_bad_step():
    for reader in (Losses.mean, Losses.status):
        losses = waiting()
        losses.start(1)
        for step in range(1, 30):
            losses.add(torch.tensor(math.inf if step == 18 else math.nan if step > 18 else 0.5), 4)
        with pytest.raises(DivergedError, match=r"^the loss became inf at step 18 of epoch 2"):
            reader(losses)


def test_a_late_reading_comes_by_itself_after_a_while():
    losses = waiting()
    losses.start(0)
    with pytest.raises(DivergedError, match="at step 3 of epoch 1"):
        for step in range(Losses.READ_EVERY):
            losses.add(torch.tensor(math.nan if step >= 2 else 0.5), 4)
    assert step == Losses.READ_EVERY - 1


def test_the_status_is_the_latest_loss():
    for losses in (Losses(CPU), waiting()):
        losses.start(0)
        losses.add(torch.tensor(2.0), 3)
        losses.add(torch.tensor(0.25), 1)
        assert losses.status() == "loss 0.2500"
        assert losses.mean() == (2.0 * 3 + 0.25) / 4
        losses.start(1)
        losses.add(torch.tensor(1.0), 1)
        assert losses.mean() == 1.0


def test_a_step_reads_nothing_back():
    # Not so with Adam, which reads its count of steps; that one is on the CPU for a model on any device.
    model, losses = normal().train(), waiting()
    step = TrainStep(model, nn.functional.cross_entropy, build_optimizer(model, config(momentum=0.9)))
    inputs, targets = draw(10)
    with NoReading():
        for _ in range(3):
            losses.add(step(inputs, targets), 10)
    with pytest.raises(AssertionError, match="a value was read"), NoReading():
        losses.unread[0][0].item()


class Fixed:
    """A metric that computes a given value, or does what a function does."""

    def __init__(self, value=0.0, **methods):
        self.value, self.batches = value, 0
        for name, method in methods.items():
            setattr(self, name, method)

    def reset(self):
        self.batches = 0

    def update(self, logits, targets):
        self.batches += 1

    def compute(self):
        return self.value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, {"m": 0.5}),
        (1, {"m": 1.0}),
        (torch.tensor(0.5), {"m": 0.5}),
        (torch.tensor([3]), {"m": 3.0}),
        ({"a": torch.tensor(0.25), "b": 2}, {"m.a": 0.25, "m.b": 2.0}),
        ({}, {}),
    ],
)
def test_results_of_metrics_become_plain_floats(value, expected):
    found = compute_metrics({"m": Fixed(value)})
    assert found == expected
    assert all(type(number) is float for number in found.values())


def test_a_metric_may_be_undefined():
    assert math.isnan(evaluate(linear(), batches(draw(9), 9), {"m": Fixed(float("nan"))})["m"])


def broken(*arguments):
    raise ZeroDivisionError("no\nsamples")


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (Fixed(None), "metric 'm': compute() gave no number: TypeError"),
        (Fixed("high"), "metric 'm': compute() gave no number: ValueError"),
        (Fixed(torch.zeros(3)), "metric 'm': compute() gave no number: "),
        (Fixed({"a": None}), "metric 'm': compute() gave no number: TypeError"),
        (Fixed([1.0]), "metric 'm': compute() gave no number: TypeError"),
        (Fixed(compute=broken), "metric 'm': compute() gave no number: ZeroDivisionError: no samples"),
        (Fixed(update=broken), "metric 'm': update() failed: ZeroDivisionError: no samples"),
        (Fixed(reset=broken), "metric 'm': reset() failed: ZeroDivisionError: no samples"),
    ],
)
def test_a_broken_metric_is_named(metric, text):
    with pytest.raises(MetricError) as caught:
        evaluate(linear(), batches(draw(20), 10), {"good": Fixed(), "m": metric})
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5


def test_metrics_are_asked_for_shared_counts_in_turn():
    asked = []

    def make(name, takes):
        metric = Fixed()
        metric.name, metric.share_counts = name, lambda other: asked.append((name, other.name)) or other.name in takes
        return metric

    plain = Fixed()
    plain.name = "plain"
    share_counts({"plain": plain, "a": make("a", ()), "b": make("b", ("a",)), "c": make("c", ("a", "b"))})
    # b reads the counts of a, so that nobody is asked to read those of b.
    assert asked == [("a", "plain"), ("b", "plain"), ("b", "a"), ("c", "plain"), ("c", "a")]
    plain.share_counts = broken
    with pytest.raises(MetricError, match=r"metric 'm': share_counts\(\) failed: ZeroDivisionError"):
        share_counts({"other": Fixed(), "m": plain})


@pytest.mark.parametrize("error", [MemoryError(), ZooError("mine"), KeyboardInterrupt()])
def test_what_is_not_the_metrics_fault_passes_unchanged(error):
    def fail(*arguments):
        raise error

    with pytest.raises(type(error)) as caught:
        evaluate(linear(), batches(draw(20), 10), {"m": Fixed(update=fail)})
    assert caught.value is error


@pytest.mark.promise("P11")
def test_metrics_start_anew_each_time():
    metric = Fixed()
    for _ in range(2):
        evaluate(linear(), batches(draw(25), 10), {"m": metric})
        assert metric.batches == 3
