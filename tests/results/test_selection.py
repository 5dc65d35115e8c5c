"""What `runs/*` gives in real life: several data sets, stopped and failed runs, and what is no run at all."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import zoo
from zoo.cli.main import main
from zoo.records.origins import DatasetOrigin
from zoo.records.process import describe_process
from zoo.records.runs import RunRecord, save_record
from zoo.registry.origin import Origin
from zoo.results.plots.accuracy import plot_comparison

SMALL = {"train_size": 64, "test_size": 40}
PLUGIN = """
import torch
import zoo


@zoo.dataset(name="dots")
def dots(*, root):
    targets = torch.arange(60) % 3
    images = torch.zeros(60, 1, 6, 6, dtype=torch.uint8)
    images[torch.arange(60), 0, targets] = 200
    return zoo.DataSplits(train=(images, targets), test=(images[:30], targets[:30]), class_names=["a", "b", "c"])
"""
KNOWN = {
    **{"model": "baseline", "device": "cpu", "device_name": "cpu", "started": "2026-11-24T12:00:00.000+00:00"},
    **{"seed": 1, "parameters": 10, "seconds": 1.0},
}
LOST = {
    "running": {"status": "running", "process": describe_process()},
    "killed": {"status": "running", "process": replace(describe_process(), started=1)},
    "failed": {"status": "failed", "error": "a plugin failed"},
    "interrupted": {"status": "interrupted"},
}
"""Records of runs that left no weights, by what is said of them."""


def stop(epoch: dict[str, object]) -> None:
    if epoch["epoch"] == 2:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of runs as they gather over days; its plugin lies beside it."""
    runs = tmp_path_factory.mktemp("mixed") / "runs"
    plugin = runs.with_name("dots_data.py")
    plugin.write_text(PLUGIN, encoding="utf-8")
    settings = {"dataset_params": SMALL, "runs_dir": runs}
    for seed in (1, 2):
        zoo.run("baseline", seed=seed, epochs=5, **settings).run.rename(runs / f"shapes-{seed}")
        zoo.run("baseline", "dots", seed=seed, epochs=1, plugins=[plugin], runs_dir=runs).run.rename(
            runs / f"dots-{seed}"
        )
    with pytest.raises(KeyboardInterrupt):
        zoo.run("baseline", seed=3, epochs=5, on_epoch=stop, **settings)
    (stopped,) = [path for path in runs.iterdir() if path.name.startswith("2")]
    stopped.rename(runs / "stopped")
    with pytest.raises(zoo.DivergedError):
        zoo.run("baseline", lr=1e30, **settings)
    (diverged,) = [path for path in runs.iterdir() if path.name.startswith("2")]
    diverged.rename(runs / "diverged")
    for name, parts in LOST.items():
        (runs / name).mkdir()
        save_record(
            runs / name, RunRecord(dataset=DatasetOrigin(name="shapes", plugin=Origin(name="zoo")), **KNOWN, **parts)
        )
    shutil.copytree(runs / "shapes-1", runs / "damaged")
    weights = runs / "damaged" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    (runs / "notes.txt").write_text("seed 2 was better\n", encoding="utf-8")
    (runs / "pictures").mkdir()
    (runs / "gone").symlink_to("nothing")
    return runs


@pytest.fixture
def paths(folder: Path) -> list[str]:
    """Return what a shell makes of `runs/*`."""
    return [str(path) for path in sorted(folder.iterdir())]


REASONS = {
    "damaged": "weights.safetensors is incomplete: has ",
    "diverged": "diverged, no weights",
    "failed": "failed, no weights",
    "gone": "a link to nothing",
    "interrupted": "interrupted, no weights",
    "killed": "killed, no weights",
    "notes.txt": "no weights file",
    "pictures": "no run",
    "running": "still running, no weights",
}


def test_each_data_set_has_a_table_and_what_is_left_out_is_named(paths):
    comparison = zoo.compare(paths)
    assert [split.dataset for split in comparison.splits] == ["dots", "shapes"]
    dots, shapes = comparison.splits
    assert {row.name for row in dots.rows} == {"baseline@dots, seed 1", "baseline@dots, seed 2"}
    stopped = "baseline@shapes (interrupted after 2 of 5 epochs)"
    assert {row.name for row in shapes.rows} == {"baseline@shapes, seed 1", "baseline@shapes, seed 2", stopped}
    assert {row.name: row.status for row in shapes.rows}[stopped] == "interrupted"
    assert [Path(each.reference).name for each in comparison.left_out] == list(REASONS)
    assert all(each.why.startswith(why) for each, why in zip(comparison.left_out, REASONS.values(), strict=True))


def test_statistics_are_those_of_each_table_alone(paths, folder):
    together = zoo.compare(paths).splits
    for split, names in zip(together, (["dots-1", "dots-2"], ["shapes-1", "shapes-2", "stopped"]), strict=True):
        alone = zoo.compare([folder / name for name in names])
        assert [(pair.p, pair.adjusted_p) for pair in split.pairs] == [
            (pair.p, pair.adjusted_p) for pair in alone.pairs
        ]
        assert [group.mean for group in split.groups] == [group.mean for group in alone.groups]
    # A run that stopped early is no third seed of those that went on to the end.
    assert sorted(len(group.seeds) for group in together[1].groups) == [1, 2]


def test_the_command_says_in_one_line_what_it_left_out(paths, capsys):
    assert main(["compare", *paths]) == 0
    out, err = capsys.readouterr()
    (line,) = [line for line in err.splitlines() if "left out" in line]
    assert line.startswith(
        f"Warning: left out {len(REASONS)} of {len(paths)}: damaged (weights.safetensors is incomplete"
    )
    assert all(f"{name} ({why}" in line for name, why in REASONS.items())
    assert re.findall(r"^Data set .*", out, re.MULTILINE) == ["Data set dots", "Data set shapes"]
    assert out.count("Do these files differ?") == 2
    assert "(interrupted after 2 of 5 epochs)" in out


def test_many_that_are_left_out_do_not_fill_the_screen(folder, tmp_path, capsys):
    strays = [tmp_path / f"stray-{number:02}" for number in range(30)]
    for stray in strays:
        stray.mkdir()
    assert main(["compare", str(folder / "shapes-1"), *map(str, strays)]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "left out 30 of 31: stray-00 (no run), " in line and line.endswith(" and 18 more")


def test_equal_names_of_two_folders_are_told_apart(folder, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name / "run").mkdir(parents=True)
    assert main(["compare", str(folder / "shapes-1"), str(tmp_path / "a/run"), str(tmp_path / "b/run")]) == 0
    assert f"{tmp_path / 'a/run'} (no run), {tmp_path / 'b/run'} (no run)" in capsys.readouterr().err


def test_json_keeps_its_form_for_one_table_and_lists_several(paths, folder, capsys):
    assert main(["compare", *paths, "--json"]) == 0
    several = json.loads(capsys.readouterr().out)
    assert several == zoo.compare(paths).to_dict() and several.keys() == {"splits", "left_out"}
    assert main(["compare", str(folder / "shapes-1"), str(folder / "notes.txt"), "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one.keys() == {*several["splits"][0], "left_out"} and one["rows"][0]["dataset"] == "shapes"
    assert one["left_out"] == [{"reference": str(folder / "notes.txt"), "why": "no weights file"}]


def test_csv_is_one_table_with_the_data_set_in_a_column(paths, capsys):
    assert main(["compare", *paths, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    splits = zoo.compare(paths).splits
    assert [(row["dataset"], row["name"]) for row in rows] == [(s.dataset, row.name) for s in splits for row in s.rows]
    assert {row["digest"] for row in rows} == {split.digest for split in splits}
    assert [row["status"] for row in rows].count("interrupted") == 1


def test_markdown_has_a_heading_for_each_table(paths, capsys):
    assert main(["compare", *paths, "--markdown"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^## .*", out, re.MULTILINE) == ["## dots", "## shapes"]
    assert out.count("| name | seed | accuracy |") == 2


@pytest.mark.parametrize("name", ["shapes", "zoo/shapes"])
def test_a_data_set_is_asked_for(paths, capsys, name):
    comparison = zoo.compare(paths, dataset=name)
    assert comparison.dataset == "shapes" and len(comparison.rows) == 3
    assert len(comparison.left_out) == len(REASONS)
    assert main(["compare", *paths, "--dataset", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == comparison.to_dict()


def test_runs_on_other_data_than_asked_for_are_not_left_out_but_not_meant(paths, capsys):
    comparison = zoo.compare(paths, dataset="dots")
    # What belongs to no data set that anybody knows of is still named.
    assert [Path(each.reference).name for each in comparison.left_out] == ["gone", "notes.txt", "pictures"]
    assert main(["compare", *paths, "--dataset", "dots", "--dataset", "shapes", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["splits"]) == 2


def test_a_data_set_that_no_result_is_on_is_an_error(paths, capsys):
    assert main(["compare", *paths, "--dataset", "shpes"]) == 2
    err = capsys.readouterr().err
    assert "no results on 'shpes': they are on dots, shapes" in err and "Did you mean 'shapes'?" in err
    with pytest.raises(zoo.UsageError, match="no results on 'shpes'"):
        zoo.compare(paths, dataset=["dots", "shpes"])


def test_nothing_left_is_an_error_that_says_why(folder, capsys):
    for command in (
        ["compare"],
        ["report", "--output", "never.html"],
        ["plot", "--kind", "curves", "--output", "never.png"],
    ):
        assert main([*command, str(folder / "notes.txt"), str(folder / "killed")]) == 4
        err = capsys.readouterr().err
        assert "nothing to show: left out 2 of 2: notes.txt (no weights file), killed (killed, no weights)" in err
        assert main([*command, str(folder / "killed")]) == 4
        assert "its run is 'killed'" in capsys.readouterr().err
        assert main([*command, str(folder / "pictures")]) == 4
        assert "the folder is neither a run nor does it hold weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["no-such-run", "runs/no-such-run", "nothing.safetensors", "@nothing", "tinyvgg@nothing"]
)
def test_a_name_that_means_nothing_is_never_left_out(folder, capsys, name):
    with pytest.raises(zoo.ZooError):
        zoo.compare([folder / "shapes-1", name])


def test_what_cannot_be_evaluated_here_is_left_out(folder, tmp_path, capsys):
    other = shutil.copytree(folder / "dots-1", tmp_path / "dots")
    (other / "predictions.safetensors").unlink()  # so that its plugin would be needed
    assert main(["compare", str(folder / "shapes-1"), str(other)]) == 0
    assert "left out 1 of 2: dots (no dataset named 'dots-data/dots'" in capsys.readouterr().err


def test_weights_that_name_no_data_set_are_left_out(folder, tmp_path, capsys):
    predictor, mine = zoo.load(folder / "shapes-1"), tmp_path / "mine.safetensors"
    shape = {"input_shape": (1, 28, 28), "class_names": predictor.class_names}
    zoo.save(predictor.model, mine, model="baseline", **shape)
    assert main(["compare", str(folder / "shapes-1"), str(mine)]) == 0
    assert "mine.safetensors (names no data set: its test split is not known)" in capsys.readouterr().err
    assert main(["compare", str(mine)]) == 2
    assert f"zoo evaluate {mine} --dataset NAME" in capsys.readouterr().err


def test_each_command_says_where_it_wrote(folder, tmp_path, capsys):
    picture, run = tmp_path / "chart.svg", str(folder / "shapes-1")
    said = f"picture: {picture}\n"
    assert main(["compare", run, "--output", str(picture)]) == 0
    assert capsys.readouterr().out.endswith(f"\n{said}")
    for form in ("--csv", "--markdown"):  # whose stdout a program may read
        assert main(["compare", run, "--output", str(picture), form]) == 0
        out, err = capsys.readouterr()
        assert err == said and "picture" not in out
    assert main(["compare", run, "--output", str(picture), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["output"] == str(picture) and not err


def test_the_chart_has_a_panel_for_each_table(paths):
    comparison = zoo.compare(paths)
    panels = plot_comparison(comparison).axes
    assert len(panels) == 2
    for axes, split in zip(panels, comparison.splits, strict=True):
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert labels[: len(split.rows)] == [row.name for row in split.rows]


def test_curves_of_a_folder_are_those_of_its_runs(paths, tmp_path, capsys):
    assert main(["plot", *paths, "--kind", "curves", "--output", str(tmp_path / "curves.svg")]) == 0
    text = (tmp_path / "curves.svg").read_text(encoding="utf-8")
    for name in (
        "baseline@dots, seed 1",
        "baseline@shapes, seed 2",
        "baseline@shapes (interrupted after 2 of 5 epochs)",
    ):
        assert f">{name}<" in text
    assert f"left out {len(REASONS)} of {len(paths)}: " in capsys.readouterr().err


def test_the_report_has_a_part_for_each_data_set(paths, folder, tmp_path, capsys):
    output = tmp_path / "report.html"
    plugin = ["--plugin", str(folder.with_name("dots_data.py"))]
    assert main(["report", *paths, "--output", str(output), *plugin, "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["left_out"] == zoo.compare(paths).to_dict()["left_out"] and err.count("left out") == 1
    page = re.sub("<wbr>", "", output.read_text(encoding="utf-8"))
    assert '<h1 id="subject">5 results on 2 data sets</h1>' in page
    assert re.findall(r'<h2 class="part" id="(.*?)">(.*?)</h2>', page) == [
        ("part-1-data", "dots"),
        ("part-2-data", "shapes"),
    ]
    (line,) = re.findall(r'<p class="left-out">(.*)</p>', page)
    assert (
        line.startswith(f"Left out {len(REASONS)} of {len(paths)}: damaged (")
        and "diverged (diverged, no weights)" in line
    )
    assert page.count(">Verdict<") == 2 and "(interrupted after 2 of 5 epochs)" in page
    ids = re.findall(r' id="(.*?)"', page)
    assert len(ids) == len({*ids})
    assert set(re.findall(r'<a href="#(.*?)"', page)) <= {*ids}
    zoo.report(paths, output, dataset="shapes")
    assert '<h1 id="subject">3 results on shapes</h1>' in output.read_text(encoding="utf-8")
