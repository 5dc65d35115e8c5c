"""Comparisons: exact counts of real runs, two questions kept apart, and nothing compared that is not comparable."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import scipy.stats
import torch

import zoo
from zoo.cli.main import main
from zoo.results.conclusions import format_p, format_points, format_seconds, format_size, summarize
from zoo.results.plots.accuracy import plot_comparison
from zoo.training.predictions import Outcomes, read_outcomes, save_outcomes

SIZES = {"train_size": 320, "test_size": 250}
SEEDS = (1, 2, 3)
ONE_SEED = "one seed each says nothing about the models: use --seeds 5"


def train(model: str, runs: Path, **settings: object) -> Path:
    return zoo.run(**{"model": model, "dataset_params": SIZES, "epochs": 1, "runs_dir": runs, **settings}).run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Return runs of two models on the same samples, three seeds each."""
    folder = tmp_path_factory.mktemp("runs")
    names = ("baseline", "relu-mlp")
    return {name: [train(name, folder, seed=seed, epochs=2) for seed in SEEDS] for name in names}


def flatten(runs: dict[str, list[Path]]) -> list[Path]:
    return [run for several in runs.values() for run in several]


def read_correct(run: Path) -> torch.Tensor:
    return read_outcomes(run / "predictions.safetensors").correct


def call(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    assert main(["compare", *map(str, arguments)]) == code
    return capsys.readouterr()


def test_a_row_says_what_files_and_records_say(runs):
    comparison = zoo.compare(flatten(runs))
    assert [row.accuracy for row in comparison.rows] == sorted((row.accuracy for row in comparison.rows), reverse=True)
    assert (comparison.dataset, comparison.split, comparison.samples) == ("shapes", "test", 250)
    assert {row.run for row in comparison.rows} == set(flatten(runs))
    for row in comparison.rows:
        record = json.loads((row.run / "run.json").read_bytes())
        assert row.name == f"{row.model}@shapes, seed {row.seed}"
        assert (row.status, row.split, row.digest) == ("finished", "test", comparison.digest)
        assert (row.model, row.dataset, row.seed) == (record["model"], "shapes", record["seed"])
        assert row.parameters == sum(value.numel() for value in zoo.load_model(row.run).parameters())
        assert row.size == (row.run / "weights.safetensors").stat().st_size
        assert row.correct == int(read_correct(row.run).sum())
        assert row.accuracy == row.correct / 250 == record["metrics"]["accuracy"]
        expected = scipy.stats.binomtest(row.correct, 250).proportion_ci(0.95, method="wilson")
        assert (row.low, row.high) == pytest.approx(tuple(expected))
        assert row.training_seconds == sum(epoch["seconds"]["train"] for epoch in record["history"])
        assert row.prediction_seconds == record["history"][-1]["seconds"]["test"] / 250
        assert row.timing == "measured by the run, prediction in its last evaluation: cpu, 1 thread"


def test_every_pair_of_files_is_tested_on_the_same_samples(runs):
    comparison = zoo.compare(flatten(runs))
    found = {row.name: read_correct(row.run) for row in comparison.rows}
    names = [row.name for row in comparison.rows]
    assert [(pair.first, pair.second) for pair in comparison.pairs] == list(itertools.combinations(names, 2))
    for pair in comparison.pairs:
        first, second = found[pair.first], found[pair.second]
        gained, lost = int((first & ~second).sum()), int((~first & second).sum())
        assert (pair.gained, pair.lost) == (gained, lost)
        expected = scipy.stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1
        assert pair.p == pytest.approx(expected)
    ordered = sorted(comparison.pairs, key=lambda pair: pair.p)
    assert ordered[0].adjusted_p == pytest.approx(min(1, 15 * ordered[0].p))
    assert all(a.adjusted_p <= b.adjusted_p for a, b in itertools.pairwise(ordered))


def test_models_are_compared_over_their_seeds(runs):
    comparison = zoo.compare(flatten(runs))
    groups = {group.name: group for group in comparison.groups}
    accuracies = {name: [float(read_correct(run).double().mean()) for run in several] for name, several in runs.items()}
    for name, values in accuracies.items():
        group = groups[f"{name}@shapes"]
        assert group.seeds == SEEDS and group.results == tuple(f"{name}@shapes, seed {seed}" for seed in SEEDS)
        assert group.accuracies == pytest.approx(values)
        assert (group.mean, group.deviation) == pytest.approx((math.fsum(values) / 3, scipy.stats.tstd(values)))
        interval = scipy.stats.t.interval(0.95, 2, loc=group.mean, scale=scipy.stats.sem(values))
        assert (group.low, group.high) == pytest.approx(interval)
    (pair,) = comparison.group_pairs
    first, second = (accuracies[name.removesuffix("@shapes")] for name in (pair.first, pair.second))
    expected = scipy.stats.ttest_ind(first, second, equal_var=False)
    assert pair.test.difference >= 0
    assert (pair.test.p, pair.adjusted_p) == pytest.approx((expected.pvalue, expected.pvalue))
    interval = expected.confidence_interval(0.95)
    assert (pair.test.low, pair.test.high) == pytest.approx((interval.low, interval.high))
    verdict = summarize(comparison.splits[0])
    outcome = "is better than" if expected.pvalue < 0.05 else "cannot be told apart"
    assert outcome in verdict[-1] and pair.first in verdict[-1] and format_p(pair.test.p) in verdict[-1]


def test_one_seed_each_says_nothing_about_the_models(runs, capsys):
    out, _ = call(capsys, runs["baseline"][0], runs["relu-mlp"][0])
    assert ONE_SEED in out
    assert not zoo.compare([runs["baseline"][0], runs["relu-mlp"][0]]).group_pairs
    out, _ = call(capsys, *runs["baseline"], runs["relu-mlp"][0])
    assert "one seed says nothing about relu-mlp@shapes: use --seeds 5" in out and ONE_SEED not in out
    out, _ = call(capsys, *runs["baseline"])
    assert "these are the seeds of one model: there is no other to compare it with" in out
    out, _ = call(capsys, runs["baseline"][0])
    assert "differ" not in out and "better" not in out


def test_a_seed_counts_once(runs, tmp_path):
    again = train("baseline", tmp_path, seed=1, epochs=2)
    comparison = zoo.compare([*runs["baseline"], again])
    (group,) = comparison.groups
    assert group.seeds == SEEDS and len(comparison.rows) == 4
    twins = {row.name for row in comparison.rows if row.seed == 1}
    assert len(twins) == 2 and len(group.repeats) == 1 and {*group.repeats} < twins
    same = next(pair for pair in comparison.pairs if {pair.first, pair.second} == twins)
    assert (same.gained, same.lost, same.p) == (0, 0, 1)


def test_other_settings_make_other_groups_and_their_names_say_which(runs, tmp_path):
    other = [train("baseline", tmp_path, seed=seed, lr=0.01, epochs=2) for seed in SEEDS]
    wide = train("baseline", tmp_path, seed=1, epochs=2, params={"hidden_units": 12})
    groups = {group.name: group for group in zoo.compare([*runs["baseline"], *other, wide]).groups}
    assert groups.keys() == {
        "baseline@shapes (hidden_units=10, lr=0.1)",
        "baseline@shapes (hidden_units=10, lr=0.01)",
        "baseline@shapes (hidden_units=12, lr=0.1)",
    }
    assert {len(group.seeds) for group in groups.values()} == {3, 1}


def test_threads_make_no_other_model(runs, tmp_path):
    other = train("baseline", tmp_path, seed=9, epochs=2, threads=2)
    (group,) = zoo.compare([*runs["baseline"], other]).groups
    assert group.seeds == (*SEEDS, 9)


@pytest.mark.promise("P11")
@pytest.mark.parametrize(
    "params",
    [{**SIZES, "test_size": 240}, {**SIZES, "seed": 5}, {**SIZES, "difficulty": 1}],
    ids=["count", "targets", "images"],
)
def test_results_on_other_samples_are_not_compared(runs, tmp_path, capsys, params):
    other = train("baseline", tmp_path, dataset_params=params)
    both = [runs["relu-mlp"][0], other]
    comparison = zoo.compare(both)
    assert [[row.name for row in split.rows] for split in comparison.splits] == [
        ["relu-mlp@shapes"],
        ["baseline@shapes"],
    ]
    assert [split.samples for split in comparison.splits] == [250, params["test_size"]]
    assert len({split.digest for split in comparison.splits}) == 2 and not any(
        split.pairs for split in comparison.splits
    )
    with pytest.raises(zoo.UsageError, match="2 different sets of samples"):
        _ = comparison.rows
    out, _ = call(capsys, *both)
    for split in comparison.splits:
        assert f"Data set shapes ({split.samples:,} samples, data {split.digest[:8]})\n" in out
    assert "differ" not in out


def test_targets_tell_samples_apart_where_the_data_have_no_digest(runs, tmp_path):
    folders = [shutil.copytree(run, tmp_path / run.name) for run in flatten(runs)[:2]]

    def rewrite(folder: Path, shift: int) -> None:
        path = folder / "predictions.safetensors"
        known = read_outcomes(path)
        changed = {"targets": numpy.roll(known.arrays["targets"], shift)}
        origin = replace(known.origin, digest=None)
        save_outcomes(path, Outcomes(**{**known.arrays, **changed}, class_names=known.class_names, origin=origin))

    for folder in folders:
        rewrite(folder, 0)
    assert len(zoo.compare(folders).rows) == 2
    rewrite(folders[0], 1)
    assert [len(split.rows) for split in zoo.compare(folders).splits] == [1, 1]


def test_weights_without_their_run_are_evaluated(runs, tmp_path, capsys):
    alone = tmp_path / "alone.safetensors"
    shutil.copy(runs["baseline"][0] / "weights.safetensors", alone)
    row, *_ = zoo.compare([alone]).rows
    assert row.correct == int(read_correct(runs["baseline"][0]).sum())
    assert (row.run, row.training_seconds, row.prediction_seconds) == (None, None, None)
    assert row.timing == "not known: the weights lie in no run folder"
    assert row.parameters == 7960
    out, _ = call(capsys, alone, runs["relu-mlp"][0])
    assert "times of baseline@shapes: not known" in out and "times of relu-mlp@shapes: measured" in out


def test_a_run_of_no_epoch_has_no_times(tmp_path):
    row, *_ = zoo.compare([train("baseline", tmp_path, epochs=0)]).rows
    assert (row.training_seconds, row.timing) == (None, "not known: the run trained for no epoch")


def test_a_file_counts_once(runs):
    run = runs["baseline"][0]
    comparison = zoo.compare([run, run / "weights.safetensors", os.path.relpath(run)])
    assert len(comparison.rows) == 1 and not comparison.pairs


def test_runs_are_compared_without_torch(runs):
    folders = list(map(str, flatten(runs)))
    code = "import sys; from zoo.cli.main import main; print(main(['compare', *sys.argv[1:]]), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *folders], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False" and "Do these files differ?" in done.stdout


def test_nothing_to_compare_is_said(capsys):
    with pytest.raises(zoo.UsageError, match="nothing to compare"):
        zoo.compare([])
    call(capsys, code=2)


def test_json_holds_all_that_python_gets(runs, capsys):
    out, err = call(capsys, "--json", *flatten(runs))
    printed = json.loads(out)
    comparison = zoo.compare(flatten(runs))
    assert printed == comparison.to_dict() and not err
    assert len(printed["pairs"]) == 15 and len(printed["rows"]) == 6
    assert printed["group_pairs"][0].keys() >= {"first", "second", "difference", "low", "high", "p", "adjusted_p"}


def test_csv_has_a_row_for_each_result(runs, capsys):
    out, _ = call(capsys, "--csv", *flatten(runs))
    rows = list(csv.DictReader(io.StringIO(out)))
    comparison = zoo.compare(flatten(runs))
    assert [row["name"] for row in rows] == [row.name for row in comparison.rows]
    assert [float(row["accuracy"]) for row in rows] == [row.accuracy for row in comparison.rows]
    assert "course_accuracy" not in rows[0]
    out, _ = call(capsys, "--csv", "--course-style", *flatten(runs))
    assert float(next(csv.DictReader(io.StringIO(out)))["course_accuracy"]) == comparison.rows[0].course_accuracy


def test_the_table_shows_the_best_against_each_and_counts_the_rest(runs, capsys):
    out, _ = call(capsys, *flatten(runs))
    comparison = zoo.compare(flatten(runs))
    best = comparison.rows[0]
    rows, pairs, models = out.split("\n\n")
    assert len(rows.splitlines()) == 1 + 6 + 2
    for text in (best.name, "7,960", f"{100 * best.accuracy:.2f} %", f"{100 * best.low:.2f} to {100 * best.high:.2f}"):
        assert text in rows.splitlines()[1]
    assert len(pairs.splitlines()) == 2 + 5 + 1 and "and 10 more pairs of the others: --json" in pairs
    pair = comparison.pairs[0]
    line = next(line for line in pairs.splitlines() if line.startswith(f"  {pair.second} "))
    assert line.removeprefix(f"  {pair.second} ").split()[:2] == [str(pair.gained), str(pair.lost)]
    group = comparison.groups[0]
    assert f"{100 * group.mean:.2f} ± {100 * group.deviation:.2f} % (3 seeds)" in models


def test_hostile_names_drive_neither_terminal_nor_markdown(runs, tmp_path, capsys):
    for name in ("a\x1b[31m|b", "<img src=x>_*"):  # copies of one run have no other names than these
        shutil.copytree(runs["baseline"][0], tmp_path / name)
    folders = sorted(tmp_path.iterdir())
    out, _ = call(capsys, *folders)
    assert "\x1b" not in out and r"a\x1b[31m|b" in out
    out, _ = call(capsys, "--markdown", *folders)
    table = [line for line in out.splitlines() if line.startswith("|")]
    cells = table[0].replace("\\|", "").count("|")
    assert [line.replace("\\|", "").count("|") for line in table[:4]] == [cells] * 4
    assert "<img" not in out.replace("\\<", "") and r"\_\*" in out


def test_markdown_is_complete(runs, capsys):
    out, _ = call(capsys, "--markdown", "--course-style", *flatten(runs))
    for text in (
        "| name | seed |",
        "**Do these files differ?**",
        "**Is one model better?**",
        "- course: the mean",
        "±",
    ):
        assert text in out


def test_course_style_is_the_mean_of_the_batches(runs, capsys):
    run = runs["baseline"][0]
    out, _ = call(capsys, "--course-style", run)
    correct = read_correct(run).double()
    expected = torch.tensor([batch.mean() for batch in correct.split(32)]).mean()
    row, *_ = zoo.compare([run]).rows
    assert row.course_accuracy == pytest.approx(float(expected), abs=1e-7) != row.accuracy
    assert f"{100 * row.course_accuracy:.2f} %" in out and "as the course prints it" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--json", "--csv"], "--json and --csv"),
        (["--csv", "--markdown"], "--csv and --markdown"),
        (["--output", "chart.jpg"], ".png, .svg, .pdf"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_read(capsys, arguments, said):
    _, err = call(capsys, "nothing-there", *arguments, code=2)
    assert said in err


def test_the_chart_shows_each_result_and_each_mean(runs, capsys, tmp_path):
    comparison = zoo.compare(flatten(runs))
    figure = plot_comparison(comparison)
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [row.name for row in comparison.rows] + [group.name for group in comparison.groups]
    intervals = [line.get_xdata() for line in axes.lines[::2]]
    points = [line.get_xdata()[0] for line in axes.lines[1::2]]
    expected = [(row.accuracy, row.low, row.high) for row in comparison.rows]
    expected += [(group.mean, group.low, group.high) for group in comparison.groups]
    shown = [(point, *interval) for point, interval in zip(points, intervals, strict=True)]
    torch.testing.assert_close(torch.tensor(shown), 100 * torch.tensor(expected, dtype=torch.float64))
    heights = [line.get_ydata()[0] for line in axes.lines[1::2]]
    assert heights == sorted(heights) and axes.yaxis_inverted()
    texts = [text.get_text() for text in axes.texts]
    assert texts[0] == f"{100 * comparison.rows[0].accuracy:.2f} %" and "±" in texts[-1]
    chart = tmp_path / "chart.svg"
    call(capsys, *flatten(runs), "--output", chart)
    assert comparison.rows[0].name in chart.read_text(encoding="utf-8")


def test_numbers_are_shown_in_units_that_suit_them():
    assert [format_seconds(value) for value in (None, 1234.5, 12.345, 0.0123, 4.2e-6)] == [
        "-",
        "1,234 s",
        "12.3 s",
        "12.3 ms",
        "4.2 µs",
    ]
    assert [format_size(value) for value in (999, 43_800, 12_345_678)] == ["999 B", "43.8 kB", "12.3 MB"]
    assert [format_p(value) for value in (0.015, 1, 1e-9)] == ["0.015", "1", "< 0.0001"]
    assert format_points(-0.0123) == "-1.23"
