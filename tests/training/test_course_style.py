"""Loss and accuracy with the two roundings of the course: means over batches, the last of which may be smaller."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import zoo
from zoo.cli.main import main
from zoo.training.course import CourseStyle, average_over_batches

SIZES = {"train_size": 101, "test_size": 75}


def train_by_hand(batch_size):
    """Return what the loop of the course prints of each epoch: train loss, test loss, test accuracy in percent."""
    splits = zoo.load_dataset("shapes", params=SIZES)
    train, test = (TensorDataset(images.div(255), targets) for images, targets in (splits.train, splits.test))
    train_dataloader = DataLoader(train, batch_size=batch_size, shuffle=True)
    test_dataloader = DataLoader(test, batch_size=batch_size, shuffle=False)
    torch.manual_seed(42)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10), torch.nn.Linear(10, 10))
    loss_fn, optimizer = torch.nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(42)
    printed = []
    for _ in range(3):
        train_loss = test_loss = test_acc = 0
        for X, y in train_dataloader:  # noqa: N806 as the course writes it
            loss = loss_fn(model(X), y)
            train_loss += loss.item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.inference_mode():
            for X, y in test_dataloader:  # noqa: N806
                logits = model(X)
                test_loss += loss_fn(logits, y).item()
                test_acc += (logits.argmax(dim=1) == y).sum().item() / len(y) * 100
        batches = len(test_dataloader)
        printed.append((train_loss / len(train_dataloader), test_loss / batches, test_acc / batches))
    return printed


@pytest.mark.parametrize("batch_size", [32, 7])
def test_a_run_prints_what_the_loop_of_the_course_prints(batch_size, tmp_path, capsys):
    expected = train_by_hand(batch_size)
    settings = {"dataset_params": SIZES, "batch_size": batch_size, "lr": 0.1, "threads": 1, "runs_dir": tmp_path}
    result = zoo.run("baseline", "shapes", epochs=3, seed=42, course_style=True, **settings)
    for epoch, (train_loss, test_loss, accuracy) in zip(result.history, expected, strict=True):
        assert epoch["train"]["course.loss"] == pytest.approx(train_loss, abs=1e-6) != epoch["train"]["loss"]
        assert epoch["test"]["course.loss"] == pytest.approx(test_loss, abs=1e-6) != epoch["test"]["loss"]
        assert epoch["test"]["course.accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert result.metrics["accuracy"] * 75 == pytest.approx(round(result.metrics["accuracy"] * 75))
    params = [f"--dataset-param={name}={size}" for name, size in SIZES.items()]
    options = ["--epochs", "3", "--batch-size", str(batch_size), "--threads", "1", "--runs-dir", str(tmp_path / "new")]
    assert main(["run", "--course-style", *params, *options]) == 0
    out, err = capsys.readouterr()
    for number, (train_loss, test_loss, accuracy) in enumerate(expected, 1):
        line = f"epoch {number}  train loss {train_loss:.5f}  test loss {test_loss:.5f}  accuracy {accuracy:.2f} %  "
        assert line in err
    told = (
        f"accuracy {expected[-1][2]:.2f} %, test loss {expected[-1][1]:.5f}, averaged over batches (exact: accuracy 0."
    )
    assert out.startswith(told)
    scores = zoo.evaluate(result.weights, course_style=True, batch_size=batch_size).metrics
    assert scores["course.loss"] == pytest.approx(expected[-1][1], abs=1e-6)
    assert main(["evaluate", str(result.weights), "--course-style"]) == 0
    assert "\ncourse.accuracy  " in capsys.readouterr().out


def test_without_it_a_run_has_no_such_scores(tmp_path):
    result = zoo.run("baseline", "shapes", dataset_params=SIZES, epochs=1, runs_dir=tmp_path)
    assert set(result.metrics) == {"accuracy", "loss"} and set(result.history[0]["train"]) == {"loss"}


def test_it_does_not_matter_how_samples_arrive():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(70, 5, generator=generator)
    targets = torch.randint(5, (70,), generator=generator)
    found = []
    for size in (1, 32, 70):
        course = CourseStyle(32)
        for part in zip(logits.split(size), targets.split(size), strict=True):
            course.update(*part)
        found.append(course.compute())
    assert found[0] == found[1] == found[2]
    expected = [
        torch.nn.functional.cross_entropy(*part) for part in zip(logits.split(32), targets.split(32), strict=True)
    ]
    assert found[0]["loss"] == pytest.approx(float(torch.stack(expected).mean()), abs=1e-6)
    course.reset()
    course.update(logits[:5], targets[:5])
    assert course.compute()["accuracy"] == pytest.approx(100 * float((logits.argmax(1) == targets)[:5].float().mean()))


def test_average_over_batches():
    assert average_over_batches([True] * 32 + [False]) == 0.5
    assert average_over_batches([1.0, 3.0], 2) == 2.0


def test_a_metric_of_that_name_is_refused(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import zoo\n\n\n@zoo.metric(name='course')\ndef course(*, num_classes):\n    raise AssertionError\n",
        encoding="utf-8",
    )
    with pytest.raises(zoo.SettingError, match="course_style: a metric of this run is called 'course' already"):
        zoo.run(metrics="course", course_style=True, plugins=[plugin])
