"""The report: what it shows is what the files say, all of it is in one file, and foreign text stays text."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import shlex
import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy
import pytest
from PIL import Image

import zoo
from zoo.cli.main import main
from zoo.data.samples import choose_samples
from zoo.records.metadata import WeightsMetadata
from zoo.records.origins import FileOrigin
from zoo.records.repeat import write_command
from zoo.records.runs import RunRecord, read_record
from zoo.registry.origin import Origin
from zoo.results.plots.images import find_wrong
from zoo.results.reading import Result
from zoo.results.report.charts import Charts, draw_charts

SIZES = {"train_size": 320, "test_size": 200}
TITLES = ("train loss", "test loss", "test accuracy")
HOSTILE = "<script>alert(1)</script>"
PLUGIN = f"""
import torch
import zoo

NAMES = [{HOSTILE!r}, "\\" onload=alert(1) x=\\"", "</style></title>", "{{{{ 7 * 7 }}}}", "a & b"]
NAMES += map(str, range(295))


def make(classes, shape, count, seed):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % classes
    images = torch.randint(0, 200, (count, *shape), dtype=torch.uint8, generator=generator)
    images[..., 0, :] = (targets * 50 % 250).to(torch.uint8).reshape(-1, *[1] * (len(shape) - 1))
    return images, targets


@zoo.dataset(name="hostile")
def hostile(*, root, classes: int = 5):
    if (root / "gone").exists():
        raise zoo.DataError("the <i>data</i> set is gone")
    shape = (3, 8, 100)
    train, test = (make(classes, shape, 2 * classes, seed) for seed in (0, 1))
    return zoo.DataSplits(train=train, test=test, class_names=NAMES[:classes])


@zoo.dataset(name="rows")
def rows(*, root):
    return zoo.DataSplits(train=make(2, (6, 7), 8, 0), test=make(2, (6, 7), 8, 1), class_names=["a", "b"])
"""


class Page(HTMLParser):
    """A page as a browser takes it in: elements with their attributes, and the text that is shown."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.inside, self.goes_on = "", False
        self.contents: dict[str, str] = {}
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "wbr":  # a place for a line to break is no end of a text
            self.goes_on = True
            return
        self.elements.append((tag, dict(attributes)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in ("script", "style"):
            self.contents[self.inside] = data
        elif self.goes_on:
            self.text[-1] += data.rstrip()
        elif data.strip():
            self.text.append(data.strip())
        self.goes_on = False

    def find(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]

    @property
    def pictures(self) -> list[tuple[int, numpy.ndarray]]:
        """The samples shown: their index and their pixels."""
        found = []
        for image in self.find("img"):
            raw = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
            if image["alt"].startswith("sample "):
                found.append((int(image["alt"].split()[1]), numpy.asarray(Image.open(io.BytesIO(raw)))))
        return found


def read_charts(source: str) -> dict[str, dict[str, str]]:
    """Return the path of each line of each chart, by the label of the chart and the title of the line."""
    line = re.compile(r'class="line"><title>(.*?)</title>(?:<path d="([^"]*)")?')
    return {label: dict(line.findall(svg)) for label, svg in re.findall(r'aria-label="(.*?)"(.*?)</svg>', source)}


def read_recipes(source: str) -> list[str]:
    return [html.unescape(re.sub("<.*?>", "", text)) for text in re.findall(r"<code>(.*?)</code>", source)]


def make_result(name: str, losses: Sequence[float | None], train: float | None = 1.0) -> Result:
    """Return what is known of a run: its losses on the test split, and one and the same of each epoch's training."""
    epochs = enumerate(losses, start=1)
    history = [{"epoch": epoch, "train": {"loss": train}, "test": {"loss": loss}} for epoch, loss in epochs]
    metadata = WeightsMetadata(
        model="net",
        plugin=Origin(name="zoo"),
        params={},
        input_shape=(1,),
        class_names=("a", "b"),
        preprocess=zoo.Preprocess(),
    )
    record = RunRecord(history=history)
    return Result(
        name=name, weights=Path("w"), run=Path(name), run_record=record, weights_metadata=metadata, outcomes=None
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    settings = {"dataset_params": SIZES, "epochs": 2, "runs_dir": folder}
    return [zoo.run(model, seed=seed, **settings).run for model in ("baseline", "relu-mlp") for seed in (1, 2)]


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(zoo.report(runs, tmp_path_factory.mktemp("page") / "report.html"))


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plugin") / "hostile_data.py"
    file.write_text(PLUGIN, encoding="utf-8")
    return file


@pytest.mark.promise("P8")
def test_the_page_needs_nothing_but_itself(page):
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("data:image/png;base64,", "#")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"url\(|@import|https?://", page.source)
    (policy,) = [found["content"] for found in page.find("meta") if found.get("http-equiv")]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.contents[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert len(page.source) < 400_000


def test_the_tables_say_what_compare_says(page, runs):
    comparison = zoo.compare(runs)
    start = page.text.index("time per sample")
    for row in comparison.rows:
        start = page.text.index(row.name, start)
        cells = page.text[start : start + 9]
        assert cells[1:3] == [str(row.seed), f"{100 * row.accuracy:.2f} %"]
        assert cells[3:6] == [f"{100 * row.low:.2f} to {100 * row.high:.2f}", str(row.correct), "7,960"]
    start = page.text.index("answer")
    for pair in comparison.pairs[:3]:
        start = page.text.index(pair.second, start)
        assert page.text[start + 2 : start + 4] == [str(pair.gained), str(pair.lost)]
    for group in comparison.groups:
        assert f"{100 * group.mean:.2f} ± {100 * group.deviation:.2f} % (2 seeds)" in page.text
    assert any(line.startswith(f"Best file: {comparison.rows[0].name}") for line in page.text)


def test_matrix_and_scores_are_those_of_the_run(page, runs):
    best = zoo.compare(runs).rows[0].run
    record = json.loads((best / "run.json").read_bytes())
    names = [score["name"] for score in record["per_class"]]
    start = page.text.index("Confusion matrix")
    for name, counts in zip(names, record["confusion"], strict=True):
        start = page.text.index(name, start + len(names))  # after the headings
        assert page.text[start + 1 : start + 11] == [str(count) for count in counts]
        start -= len(names) - 1
    start = page.text.index("Classes")
    for score in record["per_class"]:
        start = page.text.index(score["name"], start)
        shown = ["-" if score[key] is None else f"{score[key]:.3f}" for key in ("precision", "recall", "f1")]
        assert page.text[start + 1 : start + 5] == [*shown, str(score["support"])]


def test_the_pictures_are_the_samples(page, runs):
    results = zoo.read_results(runs)
    by_name = {result.name: result for result in results}
    ranked = [by_name[row.name] for row in zoo.compare(runs).rows]
    wanted = choose_samples(200, 12, 42)
    for result in ranked:
        wanted += find_wrong(result.outcomes, 12)
    assert [index for index, _ in page.pictures] == wanted
    for (_, pixels), image in zip(page.pictures, zoo.read_samples(results[0], wanted), strict=True):
        assert (pixels == image[0].numpy()).all()


def test_the_curves_are_those_of_the_runs(page, runs):
    charts = read_charts(page.source)
    assert list(charts) == [f"{name} by epoch, a line for each of 4 results" for name in TITLES]
    rows = zoo.compare(runs).rows
    histories = [json.loads((row.run / "run.json").read_bytes())["history"] for row in rows]
    for chart, (split, metric) in zip(charts.values(), map(str.split, TITLES), strict=True):
        assert list(chart) == [row.name for row in rows]
        ends = [re.findall(r"[\d.]+", path) for path in chart.values()]
        assert len({(x, last) for x, _, last, _ in ends}) == 1 and float(ends[0][0]) < float(ends[0][2])
        values = [epoch[split][metric] for history in histories for epoch in history]
        heights = [float(y) for _, first, _, second in ends for y in (first, second)]
        # Higher values lie further up, in proportion but for the rounding of their places.
        slope, start = numpy.polyfit(values, heights, 1)
        assert slope < 0
        assert numpy.polyval([slope, start], values) == pytest.approx(heights, abs=0.15)


def test_each_curve_has_a_look_of_its_own_that_the_legend_shows(page):
    looks = re.findall(r'<li><svg.*?stroke="(var\(--l\d\))".*?<path d="([^"]+)" id=.*?</svg>(.*?)</li>', page.source)
    looks = [(color, marker, re.sub("<.*?>", "", name)) for color, marker, name in looks]
    curves = re.findall(
        r'class="line"><title>(.*?)</title>.*?stroke="(var\(--l\d\))".*?<path d="([^"]+)" id=', page.source
    )
    assert len({(color, marker) for color, marker, _ in looks}) == len(looks) == 4
    assert [(name, color, marker) for color, marker, name in looks] * 3 == curves


def test_a_chart_is_a_picture_in_the_colours_of_the_page(page):
    charts = page.find("svg", role="img")
    assert len(charts) == 3 and all(chart["aria-label"] for chart in charts)
    assert {"true"} == {found.get("aria-hidden") for found in page.find("svg") if found not in charts}
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {found["href"].removeprefix("#") for found in page.find("use")} < set(ids)
    paint = {found[key] for _, found in page.elements for key in ("fill", "stroke") if key in found}
    known = set(re.findall(r"--\w+(?=:)", page.contents["style"]))
    assert paint - {"none"} == {color for color in paint if color[4:-1] in known and color == f"var({color[4:-1]})"}


@pytest.mark.promise("P15")
def test_the_recipe_trains_the_same_weights_again(page, runs, tmp_path, capsys):
    digests = {}
    for run in runs:
        metadata = zoo.read_results([run], outcomes=False)[0].metadata
        digests[metadata["digests"]["tensors"]] = run
    recipes = read_recipes(page.source)
    assert len(recipes) == len(runs) == len(digests)
    for number, recipe in enumerate(recipes):
        words = shlex.split(recipe)
        assert main([*words[1:], "--runs-dir", str(tmp_path / str(number)), "--json"]) == 0
        weights = Path(json.loads(capsys.readouterr().out)["weights"])
        del digests[zoo.read_results([weights], outcomes=False)[0].metadata["digests"]["tensors"]]
    assert not digests


def test_a_recipe_names_files_of_plugins_and_what_no_command_can_say_has_none(plugin, tmp_path):
    run = zoo.run(dataset="hostile", plugins=[plugin], dataset_params={"classes": 4}, epochs=1, runs_dir=tmp_path)
    record = read_record(run.run / "run.json")
    recipe = shlex.split(write_command(record))
    assert recipe[recipe.index("--plugin") + 1] == str(plugin)
    assert recipe[recipe.index("--dataset-param") + 1] == "classes=4"
    assert write_command(replace(record, params={"sizes": [1, 2]})) is None
    assert write_command(replace(record, plugin=replace(record.plugin, source="an object"))) is None
    assert write_command(RunRecord(model="baseline", plugin=record.plugin)) is None
    init = FileOrigin(path="my weights", digest="")
    switch = write_command(replace(record, params={"deep": True}, init=init))
    assert "--param deep=true" in switch and "--init 'my weights' --freeze none" in switch


@pytest.mark.promise("P3")
def test_foreign_text_stays_text(plugin, tmp_path):
    runs_dir = tmp_path / HOSTILE.replace("/", "")
    run = zoo.run(dataset="hostile", plugins=[plugin], epochs=1, lr=0.001, runs_dir=runs_dir).run
    named = run.rename(run.with_name("<b onclick=alert(1)>"))
    other = shutil.copytree(named, runs_dir / "other")  # nothing but the folder tells the two apart
    page = Page(zoo.report([named, other], tmp_path / "report.html", plugins=[plugin]))
    assert len(page.find("script")) == 1 and len(page.find("style")) == 1 and not page.find("b")
    assert page.contents["script"].startswith('"use strict"')
    for name in (HOSTILE, '" onload=alert(1) x="', "</style></title>", "{{ 7 * 7 }}", "a & b"):
        assert page.text.count(name) >= 4, name
    assert "<b onclick=alert(1)>" in page.text
    assert all(pixels.shape == (5, 64) for _, pixels in page.pictures)


@pytest.mark.parametrize("classes", [21, 300])
def test_many_classes_are_a_picture_or_words(plugin, tmp_path, classes):
    settings = {"dataset": "hostile", "plugins": [plugin], "dataset_params": {"classes": classes}}
    run = zoo.run(**settings, epochs=1, lr=0.001, runs_dir=tmp_path).run
    page = Page(zoo.report([run], tmp_path / "report.html", plugins=[plugin]))
    assert not page.find("table", **{"class": "matrix"})
    matrices = page.find("img", **{"class": "map"})
    assert len(matrices) == (1 if classes == 21 else 0)
    assert f"The 20 worst classes of {classes}" in page.text and "Most confused:" in page.text
    if matrices:
        raw = base64.b64decode(matrices[0]["src"].partition(",")[2])
        pixels = numpy.array(Image.open(io.BytesIO(raw)))
        outcomes = zoo.read_results([run], plugins=[plugin])[0].outcomes
        (image,) = zoo.plot_confusion(outcomes).axes[0].images
        assert (pixels == (image.to_rgba(image.get_array())[..., :3] * 255).round()).all()


def test_a_report_without_the_data_says_so(plugin, tmp_path, caplog):
    root = tmp_path / "data"
    root.mkdir()
    run = zoo.run(dataset="hostile", plugins=[plugin], epochs=1, lr=0.001, data_dir=root, runs_dir=tmp_path).run
    (root / "gone").touch()
    page = Page(zoo.report([run], tmp_path / "report.html", plugins=[plugin], data_dir=root))
    assert any("could not be shown" in text and "<i>data</i> set is gone" in text for text in page.text)
    assert "shows no samples" in caplog.text and not page.pictures
    assert page.find("table", **{"class": "matrix"})


def test_samples_that_are_no_pictures_are_left_out(plugin, tmp_path):
    run = zoo.run(dataset="rows", plugins=[plugin], epochs=1, lr=0.001, runs_dir=tmp_path).run
    page = Page(zoo.report([run], tmp_path / "report.html", plugins=[plugin]))
    assert any("is no picture" in text for text in page.text)


def test_weights_alone_have_a_report_too(runs, tmp_path):
    alone = tmp_path / "alone.safetensors"
    shutil.copy(runs[0] / "weights.safetensors", alone)
    page = Page(zoo.report([alone, runs[2]], tmp_path / "report.html"))
    assert any(text.startswith("Without a recorded training: baseline@shapes") for text in page.text)
    assert len(read_recipes(page.source)) == 2


def test_a_page_of_many_results_stays_small(runs, tmp_path):
    copies = [shutil.copytree(runs[number % 4], tmp_path / f"run-{number:02}") for number in range(20)]
    page = Page(zoo.report(copies, tmp_path / "report.html"))
    assert len(page.pictures) <= 12 + 120
    assert len(page.source) < 500_000
    assert not [found for found in page.find("details") if "open" in found]


def test_the_command_writes_the_page_and_says_where(runs, tmp_path, capsys):
    output = tmp_path / "report.html"
    assert main(["report", *map(str, runs[:1]), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"report: {output}\n"
    assert Page(output).find("table")
    assert main(["report", *map(str, runs[:1]), "--output", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"output": str(output), "left_out": []}


@pytest.mark.promise("P1")
def test_what_cannot_be_reported_leaves_an_older_page(runs, tmp_path, capsys, monkeypatch):
    output = tmp_path / "report.html"
    output.write_text("older", encoding="utf-8")
    other = zoo.run(dataset_params={**SIZES, "seed": 3}, epochs=1, runs_dir=tmp_path).run
    (other / "weights.safetensors").unlink()
    assert main(["report", str(tmp_path), str(other), "--output", str(output)]) == 4
    assert f"left out 2 of 2: {tmp_path.name} (no run), {other.name} (finished, no weights)" in capsys.readouterr().err
    assert main(["report", str(runs[0]), "--output", str(tmp_path / "report.pdf")]) == 2
    assert ".html" in capsys.readouterr().err
    assert main(["report", str(runs[0]), "--output", str(tmp_path / "no folder" / "report.html")]) in (0, 7)
    for package in ("jinja2", "matplotlib"):
        with monkeypatch.context() as missing:
            missing.setitem(sys.modules, package, None)
            assert main(["report", str(runs[0]), "--output", str(output)]) == 2
        said = capsys.readouterr().err
        assert package in said and "pip install 'zoo-torch[plots]'" in said
    assert output.read_text(encoding="utf-8") == "older"


def test_the_wheel_has_the_parts_of_the_page(wheels):
    names = zipfile.ZipFile(wheels["zoo-torch"]).namelist()
    assert {f"zoo/results/report/report.{kind}" for kind in ("html.jinja", "css", "js")} <= {*names}


def test_a_line_breaks_where_a_value_is_missing():
    losses = {"a": [2.0, None, 1.0, 1.5], "b": [None] * 4}
    results = [make_result(name, values) for name, values in losses.items()]
    drawn = draw_charts(results)
    assert drawn == draw_charts(results)
    # Of the second run no loss of the test is known, so that it has no line there.
    paths = [chart["a"] for chart in read_charts("".join(chart.svg for chart in drawn.charts)).values()]
    assert [chart.name for chart in drawn.charts] == ["train loss", "test loss"]
    assert [path.count("M") for path in paths] == [1, 2]
    assert [(entry.name, entry.svg.count("<use")) for entry in drawn.legend] == [("a", 1), ("b", 1)]
    assert 'a line for each of 1 result"' in drawn.charts[1].svg


def test_without_a_recorded_value_there_is_no_chart():
    empty = [make_result("a", [None], train=None), make_result("b", [])]
    assert draw_charts(empty) == draw_charts([]) == Charts(charts=(), legend=())


def test_a_page_that_nobody_named_takes_the_place_of_another_report_only(runs, own_folder):
    page = zoo.report(runs[:1])
    assert page == Path("report.html") and zoo.report(runs[:1]) == page
    page.write_text("<title>the work of a week</title>")
    with pytest.raises(zoo.UsageError, match=r"report\.html is there, and no report of zoo"):
        zoo.report(runs[:1])
    assert page.read_text() == "<title>the work of a week</title>"
