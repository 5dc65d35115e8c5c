"""Figures: what they show, read back from the objects. Text, positions and colours, not pixels."""

from __future__ import annotations

import io
import itertools
import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.colors
import numpy
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from torch import Tensor

import zoo
from zoo.data.samples import choose_samples
from zoo.errors import DataError, SettingError, StorageError, UsageError
from zoo.records.metadata import WeightsMetadata
from zoo.records.origins import DatasetOrigin
from zoo.records.runs import RunRecord
from zoo.registry.origin import Origin
from zoo.results.plots.colors import choose_looks
from zoo.results.plots.images import MAX_IMAGE_SIDE, find_wrong, normalize_images
from zoo.results.plots.style import (
    RIGHT_COLOR,
    WRONG_COLOR,
    fit_text,
    measure_text,
    plot_style,
    render_figure,
    save_figure,
    wrap_text,
)
from zoo.results.reading import Result
from zoo.training.confusion import list_confusions
from zoo.training.predictions import OutcomeOrigin, Outcomes

HOSTILE = {
    "$x^2$": "$x^2$",
    r"$\nonsense{$": r"$\nonsense{$",
    "two\nlines\tand": "two lines and",
    "\x1b[31mred\x00": r"\x1b[31mred\x00",
    "<script>&amp;": "<script>&amp;",
    "日本語": "日本語",
    "Ёж": "Ёж",
    "\u202eright to left": r"\u202eright to left",
    "\ud800": r"\ud800",
    "": "''",
    "100% _a_ {b}": "100% _a_ {b}",
}
"""Names of classes, and how they are shown."""


def make_outcomes(names: Sequence[str], samples: int = 400, right: float = 0.8, seed: int = 0) -> Outcomes:
    """Return random outcomes; wrong ones are up to three classes off."""
    generator, classes = torch.Generator().manual_seed(seed), len(names)
    targets = torch.randint(0, classes, (samples,), generator=generator)
    others = (targets + torch.randint(1, min(classes, 4), (samples,), generator=generator)) % classes
    predictions = torch.where(torch.rand(samples, generator=generator) < right, targets, others)
    given = torch.rand(samples, generator=generator) / 2 + 0.5
    return Outcomes(
        targets=targets,
        predictions=predictions,
        target_probabilities=torch.where(targets == predictions, given, 1 - given),
        probabilities=given,
        class_names=tuple(names),
        origin=OutcomeOrigin(model="net", dataset="things", split="test"),
    )


def fields_of(outcomes: Outcomes) -> dict[str, Any]:
    return {**outcomes.arrays, "class_names": outcomes.class_names, "origin": outcomes.origin}


METADATA = WeightsMetadata(
    model="net",
    plugin=Origin(name="zoo"),
    params={},
    input_shape=(1,),
    class_names=("a", "b"),
    preprocess=zoo.Preprocess(),
)


def make_result(name: str, history: Sequence[dict[str, Any]] | None) -> Result:
    record = None if history is None else RunRecord(history=list(history))
    run = None if history is None else Path(name)
    return Result(name=name, weights=Path("w"), run=run, run_record=record, weights_metadata=METADATA, outcomes=None)


def make_history(epochs: int, start: float = 1.0, metric: str = "accuracy") -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "train": {"loss": start / epoch},
            "test": {"loss": start / epoch + 0.1, metric: 1 - start / epoch / 4},
            "seconds": {"train": 1.0, "test": 1.0},
        }
        for epoch in range(1, epochs + 1)
    ]


def list_texts(figure: Figure) -> list[Text]:
    """Return all texts that a reader sees."""
    with plot_style():
        FigureCanvasAgg(figure).draw()
    texts = [*figure.texts, *itertools.chain(*(legend.get_texts() for legend in figure.legends))]
    if figure._suptitle is not None and figure._suptitle not in texts:
        texts.append(figure._suptitle)
    for axes in figure.axes:
        texts += [axes.title, *axes.texts]
        if axes.axison:
            texts += [axes.xaxis.label, axes.yaxis.label, axes.xaxis.offsetText, axes.yaxis.offsetText]
            # Ticks beyond the ends of an axis exist but are not drawn.
            for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
                low, high = sorted(limits)
                ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
                texts += [label for place, label in ticks if low <= place <= high]
    return [text for text in texts if text.get_visible() and text.get_text()]


def find_boxes(figure: Figure, artists: Sequence[Any]) -> numpy.ndarray[Any, Any]:
    """Return left, bottom, right and top of each, in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    with plot_style():
        return numpy.array([artist.get_window_extent(renderer).extents for artist in artists])


def check_layout(figure: Figure) -> list[str]:
    """Check that no text lies on another one or outside; return them."""
    texts = list_texts(figure)
    left, bottom, right, top = find_boxes(figure, texts).T
    width, height = figure.bbox.width, figure.bbox.height
    assert left.min() >= 0 and bottom.min() >= 0 and right.max() <= width and top.max() <= height
    wide = numpy.minimum(right[:, None], right) - numpy.maximum(left[:, None], left)
    high = numpy.minimum(top[:, None], top) - numpy.maximum(bottom[:, None], bottom)
    # Less than a pixel is rounding.
    both = numpy.argwhere(numpy.triu((wide > 1) & (high > 1), k=1))
    assert not len(both), [(texts[a].get_text(), texts[b].get_text()) for a, b in both[:5]]
    return [text.get_text() for text in texts]


def find_contrast(one: Any, other: Any) -> float:
    """Return the contrast of two colours, 1 to 21 (WCAG 2.2)."""
    dark, light = sorted(find_luminance(color) for color in (one, other))
    return (light + 0.05) / (dark + 0.05)


def find_luminance(color: Any) -> float:
    values = numpy.array(matplotlib.colors.to_rgb(color))
    linear = numpy.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def make_images(count: int, *shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8) for _ in range(count)]


def name_classes(count: int) -> list[str]:
    """Return names of very different lengths."""
    return [f"the_{index}th_class_of_a_long_name" if index % 3 else f"c{index}" for index in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 10, 30, 100, 250])
def test_no_text_of_a_confusion_matrix_lies_on_another(classes: int) -> None:
    outcomes = make_outcomes(name_classes(classes), samples=classes * 100)
    texts = check_layout(zoo.plot_confusion(outcomes))
    assert {"predicted", "truth"} <= set(texts)
    if classes <= 100:
        # Each name beside the rows and below the columns; long ones keep both ends.
        labels = [text for text in texts if re.fullmatch(r"c\d+|the_.*name", text)]
        assert len(labels) == 2 * classes and labels[:classes] == labels[classes:]
        assert len(set(labels)) == classes


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 10, 30])
def test_a_cell_shows_its_count_to_be_read(classes: int) -> None:
    outcomes = make_outcomes(name_classes(classes), samples=classes * 1000)
    figure = zoo.plot_confusion(outcomes)
    axes = figure.axes[0]
    list_texts(figure)
    shown = {(round(t.get_position()[1]), round(t.get_position()[0])): t for t in axes.texts}
    matrix = outcomes.matrix
    assert {place: int(text.get_text()) for place, text in shown.items()} == {
        (row, column): int(matrix[row, column]) for row, column in matrix.nonzero().tolist()
    }
    (image,) = axes.images
    colors = image.to_rgba(image.get_array())
    corners = axes.transData.transform([(0.0, 0.0), (1.0, 1.0)])
    side = abs(corners[1] - corners[0])
    for (row, column), text in shown.items():
        assert find_contrast(text.get_color(), colors[row, column][:3]) >= 4.5
        left, bottom, right, top = find_boxes(figure, [text])[0]
        centre = axes.transData.transform((column, row))
        assert abs(numpy.array([left, bottom]) - centre).max() <= side[0] / 2
        assert abs(numpy.array([right, top]) - centre).max() <= side[1] / 2


def test_counts_that_cannot_be_read_are_left_out() -> None:
    figure = zoo.plot_confusion(make_outcomes(name_classes(100), samples=200_000))
    assert not figure.axes[0].texts


def test_the_colour_of_a_cell_is_its_share_of_the_row() -> None:
    outcomes = make_outcomes(["a", "b", "c"], samples=300)
    (image,) = zoo.plot_confusion(outcomes).axes[0].images
    matrix = outcomes.matrix.double()
    assert numpy.asarray(image.get_array()) == pytest.approx((matrix / matrix.sum(1, keepdim=True)).numpy())
    shades = [find_luminance(color[:3]) for color in image.to_rgba(numpy.linspace(0, 1, 101))]
    assert all(darker < lighter for lighter, darker in itertools.pairwise(shades))
    # As told by the scale beside it.
    assert image.norm.vmin == 0 and image.norm.vmax == 1


def test_the_most_confused_pairs_are_there_in_words() -> None:
    outcomes = make_outcomes(["T-shirt/top", "Shirt", "Coat"], samples=500)
    texts = check_layout(zoo.plot_confusion(outcomes, pairs=3))
    for target, predicted, count in list_confusions(outcomes.matrix, outcomes.class_names, 3):
        assert f"{count} times {target} was taken for {predicted}" in texts
    assert sum("was taken for" in text for text in texts) == 3
    right = int(outcomes.correct.sum())
    assert f"net on things, test: {right} of 500 right ({right / 500:.2%})" in texts
    assert "my title" in check_layout(zoo.plot_confusion(outcomes, title="my title"))


def test_a_class_without_samples_and_a_model_without_mistakes_are_said() -> None:
    outcomes = make_outcomes(["a", "b", "c"], right=1)
    assert "No sample was taken for another class." in check_layout(zoo.plot_confusion(outcomes))
    moved = Outcomes(**{**fields_of(outcomes), "targets": outcomes.targets.clamp(max=1)})
    figure = zoo.plot_confusion(moved)
    assert "Grey rows: no samples of that class." in check_layout(figure)
    (image,) = figure.axes[0].images
    red, green, blue, _ = image.to_rgba(image.get_array())[2, 0]
    assert red == green == blue < 0.95


@pytest.mark.slow
def test_hostile_names_appear_as_text() -> None:
    outcomes = make_outcomes(list(HOSTILE), samples=600)
    figure = zoo.plot_confusion(outcomes)
    texts = check_layout(figure)
    assert all(texts.count(shown) == 2 for shown in HOSTILE.values())
    svg = render_figure(figure, "svg").decode()
    written = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert all(written.count(name) == 2 for name in ("&lt;script&gt;&amp;amp;", "$x^2$", "日本語"))
    images = make_images(len(HOSTILE), 1, 8, 8)
    figure = zoo.plot_samples(images, list(HOSTILE))
    assert check_layout(figure) == list(HOSTILE.values())
    run = make_result("$a_1$\n<b>", make_history(2))
    assert "$a_1$ <b>" in check_layout(zoo.plot_curves([run]))
    for picture in (figure, zoo.plot_curves([run, run])):
        assert render_figure(picture, "png") and render_figure(picture, "pdf")


@pytest.mark.slow
def test_names_of_a_million_letters_fit() -> None:
    names = ["x" * 1_000_000, "word " * 200_000, "y"]
    outcomes = make_outcomes(names, samples=60)
    check_layout(zoo.plot_confusion(outcomes))
    images = make_images(9, 1, 8, 8)
    check_layout(zoo.plot_samples(images[:3], names, title=names[1]))
    check_layout(zoo.plot_predictions(images, outcomes, range(9), columns=3))
    check_layout(zoo.plot_wrong(images, outcomes, find_wrong(outcomes, 9), columns=5))
    check_layout(zoo.plot_curves([make_result(name, make_history(2)) for name in names]))


def test_letters_that_no_font_has_are_warned_about_but_in_svg(caplog: pytest.LogCaptureFixture) -> None:
    figure = zoo.plot_samples(make_images(1, 1, 8, 8), ["\U00017000"])  # Tangut, in none of the fonts looked for
    caplog.set_level(logging.WARNING, "zoo")
    render_figure(figure, "svg")
    assert not caplog.records
    render_figure(figure, "png")
    assert "no installed font has them" in caplog.text


def test_curves_are_the_history() -> None:
    history = make_history(3)
    history[1]["test"]["loss"] = None  # what a record has for a loss that is not finite
    figure = zoo.plot_curves([make_result("net@things", history)])
    texts = check_layout(figure)
    assert {"net@things", "loss", "accuracy", "epoch", "train", "test"} <= set(texts)
    loss, accuracy = figure.axes
    train, test = loss.lines
    assert train.get_linestyle() == "--" and test.get_linestyle() == "-"
    assert [list(line.get_xdata()) for line in (train, test)] == [[1, 2, 3]] * 2
    assert list(train.get_ydata()) == [epoch["train"]["loss"] for epoch in history]
    first, gap, last = test.get_ydata()
    assert (first, last) == (history[0]["test"]["loss"], history[2]["test"]["loss"]) and numpy.isnan(gap)
    (only,) = accuracy.lines
    assert list(only.get_ydata()) == [epoch["test"]["accuracy"] for epoch in history]
    assert all(tick == int(tick) for axes in figure.axes for tick in axes.get_xticks())


@pytest.mark.parametrize("runs", [2, 7, 20])
def test_the_legend_of_many_runs_covers_nothing(runs: int) -> None:
    results = [
        make_result(f"2026-run-of-a-model-with-a-{'very-' * (index % 5)}long-name-{index}", make_history(index % 9 + 1))
        for index in range(runs)
    ]
    figure = zoo.plot_curves(results)
    texts = check_layout(figure)
    assert all(any(text.endswith(f"name-{index}") for text in texts) for index in range(runs))
    legends = find_boxes(figure, figure.legends)
    panels = [axes.get_tightbbox(FigureCanvasAgg(figure).get_renderer()).extents for axes in figure.axes]
    for left, bottom, right, top in legends:
        assert left >= 0 and bottom >= 0 and right <= figure.bbox.width
        assert all(top <= panel[1] for panel in panels)
    assert legends[1][3] <= legends[0][1]
    # Nobody has to tell colours apart.
    accuracy = figure.axes[1].lines
    assert len({(line.get_color(), line.get_marker()) for line in accuracy}) == runs
    handles = figure.legends[1].legend_handles
    assert [(h.get_color(), h.get_marker()) for h in handles] == [(n.get_color(), n.get_marker()) for n in accuracy]


def test_63_runs_look_different_and_a_long_run_is_not_all_markers() -> None:
    figure = zoo.plot_curves([make_result(f"r{index}", make_history(2)) for index in range(63)])
    assert len({(line.get_color(), line.get_marker()) for line in figure.axes[1].lines}) == 63
    check_layout(figure)
    figure = zoo.plot_curves([make_result("long", make_history(1000))])
    assert len(range(0, 1000, figure.axes[0].lines[0].get_markevery())) <= 15


def test_the_second_panel_is_a_metric_that_all_runs_have() -> None:
    both = make_history(2)
    for epoch in both:
        epoch["test"]["f1"] = 0.5
    one, other = make_result("a", both), make_result("b", make_history(2, metric="f1"))
    assert [axes.get_title() for axes in zoo.plot_curves([one]).axes] == ["loss", "accuracy"]
    assert [axes.get_title() for axes in zoo.plot_curves([one, other]).axes] == ["loss", "f1"]
    lone = make_result("c", make_history(2, metric="auc"))
    assert [axes.get_title() for axes in zoo.plot_curves([one, lone]).axes] == ["loss"]


def test_runs_of_one_epoch_are_rows_with_their_scores() -> None:
    """Curves of one point would be marks that nobody can read."""
    names = [f"net@things, seed {seed}" for seed in range(12)]
    results = [make_result(name, make_history(1, start=1 + seed / 10)) for seed, name in enumerate(names)]
    for shown in (results, results[:1]):
        figure = zoo.plot_curves(shown)
        texts = check_layout(figure)
        assert {"loss after one epoch", "accuracy after one epoch", *names[: len(shown)]} <= {*texts}
        loss, accuracy = figure.axes
        for row, result in enumerate(shown):
            (epoch,) = result.history
            marks = {(line.get_xdata()[0], line.get_ydata()[0]) for line in loss.lines if len(line.get_xdata()) == 1}
            assert {(epoch["train"]["loss"], row), (epoch["test"]["loss"], row)} <= marks
            assert f"{epoch['test']['accuracy']:.4f}" in [text.get_text() for text in accuracy.texts]
    mixed = zoo.plot_curves([results[0], make_result("longer", make_history(3))])
    lone, line = mixed.axes[1].lines
    assert lone.get_markersize() > line.get_markersize()


def test_a_colour_stands_for_a_model() -> None:
    def make(model: str, dataset: str, seed: int) -> Result:
        metadata = replace(METADATA, model=model, dataset=DatasetOrigin(name=dataset))
        return replace(make_result(f"{model}@{dataset}, seed {seed}", make_history(2)), weights_metadata=metadata)

    results = [make(model, dataset, seed) for model in "cab" for dataset in "xy" for seed in range(4)]
    looks = dict(zip((result.name for result in results), choose_looks(results), strict=True))
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == len(results)
    for model in "abc":
        assert len({look["color"] for name, look in looks.items() if name.startswith(model)}) == 1
    assert len({look["color"] for look in looks.values()}) == 3
    # In whatever order they are named, and the others' colours do not depend on how many runs a model has.
    backwards = dict(zip((result.name for result in results[::-1]), choose_looks(results[::-1]), strict=True))
    assert all(backwards[name]["color"] == look["color"] for name, look in looks.items())
    # The seeds of one model have a colour each: there is no other model to tell it from.
    assert len({look["color"] for look in choose_looks([make("a", "x", seed) for seed in range(5)])}) == 5


def test_curves_need_epochs() -> None:
    with pytest.raises(UsageError, match="no curves of net: it is weights alone"):
        zoo.plot_curves([make_result("fine", make_history(1)), make_result("net", None)])
    with pytest.raises(UsageError, match="has no epochs"):
        zoo.plot_curves([make_result("net", [])])
    with pytest.raises(UsageError, match="no runs"):
        zoo.plot_curves([])


def test_samples_are_shown_as_they_are_with_their_titles() -> None:
    grey, colored = make_images(4, 1, 10, 12), make_images(2, 3, 10, 7)
    figure = zoo.plot_samples([*grey, *colored], list("abcdef"), columns=3, title="things, train")
    assert check_layout(figure) == ["things, train", *"abcdef"]
    for axes, raw in zip(figure.axes, [*grey, *colored], strict=True):
        (picture,) = axes.images
        shown = numpy.asarray(picture.get_array())
        assert not axes.axison and picture.get_cmap().name == "gray" and picture.get_clim() == (0, 1)
        expected = raw[0] if len(raw) == 1 else raw.permute(1, 2, 0)
        assert shown * 255 == pytest.approx(expected.numpy(), abs=1e-3)
    lefts = [axes.get_position().x0 for axes in figure.axes]
    assert len({round(left, 2) for left in lefts[:3]}) == 3 and lefts[:1] == lefts[3:4]


def test_images_of_different_sizes_keep_their_proportions_apart() -> None:
    images = [
        image for height, width in ((5, 50), (50, 5), (20, 30), (1, 1)) for image in make_images(1, 3, height, width)
    ]
    figure = zoo.plot_samples(images, name_classes(4), columns=2)
    check_layout(figure)
    boxes = find_boxes(figure, figure.axes)
    for (left, bottom, right, top), image in zip(boxes, images, strict=True):
        assert (right - left) / (top - bottom) == pytest.approx(image.shape[2] / image.shape[1], rel=1e-6)
    assert boxes[:2, 1].min() > boxes[2:, 3].max()  # the second row below the first


def test_black_and_white_are_the_ends_of_the_range() -> None:
    def ends(*images: Tensor) -> list[list[float]]:
        return [[round(value, 6) for value in picture.flatten().tolist()] for picture in normalize_images(images)]

    assert ends(torch.tensor([[[0, 51, 255]]], dtype=torch.uint8)) == [[0, 0.2, 1]]
    assert ends(torch.tensor([[[0, 13107, 65535]]], dtype=torch.uint16)) == [[0, 0.2, 1]]
    assert ends(torch.tensor([[[0.0, 0.25, 1.0]]])) == [[0, 0.25, 1]]
    assert ends(torch.tensor([[[-1.0, 0.0, 3.0]]]), torch.tensor([[[1.0]]])) == [[0, 0.25, 1], [0.5]]
    assert ends(torch.tensor([[[0, 5, 10]]], dtype=torch.int16)) == [[0, 0.5, 1]]
    assert ends(torch.tensor([[[True, False]]])) == [[1, 0]]
    assert ends(torch.full((5, 1, 1), 51, dtype=torch.uint8)) == [[0.2]]
    (large,) = normalize_images([torch.full((3, 40, 4000), 255, dtype=torch.uint8)])
    assert large.shape == (5, MAX_IMAGE_SIDE, 3) and large.min() == pytest.approx(1)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(4,\) is no picture"):
        zoo.plot_samples([torch.zeros(4)], ["a"])
    with pytest.raises(DataError, match=r"shape \(1, 0, 4\) is no picture"):
        zoo.plot_samples([torch.zeros(1, 0, 4)], ["a"])
    with pytest.raises(UsageError, match="no images"):
        zoo.plot_samples([], [])
    with pytest.raises(UsageError, match="2 images for 1 captions"):
        zoo.plot_samples(make_images(2, 1, 4, 4), ["a"])
    with pytest.raises(SettingError, match="columns: must be at least 1, got 0"):
        zoo.plot_samples(make_images(2, 1, 4, 4), ["a", "b"], columns=0)


def test_predictions_say_right_and_wrong_by_sign_and_colour() -> None:
    outcomes = make_outcomes(["Sandal", "Ankle boot", "Bag"], samples=40, right=0.5)
    indices = choose_samples(40, 12, seed=3)
    figure = zoo.plot_predictions(make_images(12, 1, 8, 8), outcomes, indices, columns=4)
    check_layout(figure)
    for axes, index in zip(figure.axes, indices, strict=True):
        target, predicted = (
            outcomes.class_names[int(side[index])] for side in (outcomes.targets, outcomes.predictions)
        )
        sign, color = ("✓", RIGHT_COLOR) if target == predicted else ("✗", WRONG_COLOR)
        assert axes.get_title().replace("\n", " ") == f"{sign} {predicted} | {target}"
        assert axes.title.get_color() == color
    assert {axes.title.get_color() for axes in figure.axes} == {RIGHT_COLOR, WRONG_COLOR}


def test_green_and_red_are_read_on_white_and_told_apart_by_all() -> None:
    assert find_contrast(RIGHT_COLOR, "white") >= 4.5 and find_contrast(WRONG_COLOR, "white") >= 4.5
    # Linear RGB as seen without one kind of cone: Machado, Oliveira and Fernandes (2009), severity 1.
    deutan = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    protan = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    for matrix in (numpy.eye(3), deutan, protan):
        green, red = (
            numpy.array(matrix) @ (numpy.array(matplotlib.colors.to_rgb(c)) ** 2.2) for c in (RIGHT_COLOR, WRONG_COLOR)
        )
        seen = [numpy.clip(color, 0, 1) ** (1 / 2.2) for color in (green, red)]
        assert numpy.linalg.norm(seen[0] - seen[1]) > 0.25


def test_the_most_wrong_come_first_with_both_probabilities() -> None:
    outcomes = Outcomes(
        **{
            **fields_of(make_outcomes(["a", "b"])),
            "targets": torch.tensor([0, 0, 1, 1, 0, 1]),
            "predictions": torch.tensor([0, 1, 0, 0, 1, 0]),
            "probabilities": torch.tensor([0.999, 0.6, 0.9, 0.8, 0.9, 0.9]),
            "target_probabilities": torch.tensor([0.999, 0.4, 0.1, 0.2, 0.05, 0.1]),
        }
    )
    assert find_wrong(outcomes, 9) == [4, 2, 5, 3, 1] and find_wrong(outcomes, 2) == [4, 2]
    indices = find_wrong(outcomes, 3)
    figure = zoo.plot_wrong(make_images(3, 1, 8, 8), outcomes, indices)
    check_layout(figure)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["✗ b 0.900\ntruth a 0.050", "✗ a 0.900\ntruth b 0.100", "✗ a 0.900\ntruth b 0.100"]
    assert {axes.title.get_color() for axes in figure.axes} == {WRONG_COLOR}


def test_samples_are_chosen_by_the_seed_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert choose_samples(100, 10, 5) == choose_samples(100, 10, 5) != choose_samples(100, 10, 6)
    assert sorted(choose_samples(10, 99, 0)) == list(range(10))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".PNG"])
def test_files_are_of_their_suffix_and_the_same_each_time(tmp_path: Path, suffix: str) -> None:
    outcomes, images = make_outcomes(["one $1", "two"]), make_images(4, 3, 9, 9)
    contents = []
    for number in range(2):
        figure = zoo.plot_predictions(images, outcomes, range(4))
        save_figure(figure, tmp_path / f"{number}{suffix}")
        save_figure(figure, tmp_path / f"again{suffix}")
        contents += [(tmp_path / f"{name}{suffix}").read_bytes() for name in (number, "again")]
    assert len(set(contents)) == 1
    head = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix.lower()]
    assert contents[0].startswith(head)


def test_an_svg_has_its_text_as_text(tmp_path: Path) -> None:
    outcomes = make_outcomes(["T-shirt/top", "Shirt"])
    save_figure(zoo.plot_confusion(outcomes), tmp_path / "m.svg")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "m.svg").read_text(encoding="utf-8"))
    assert texts.count("T-shirt/top") == 2 and str(int(outcomes.matrix[0, 1])) in texts


def test_other_files_are_refused_and_old_ones_stay(tmp_path: Path) -> None:
    figure = zoo.plot_samples(make_images(1, 1, 4, 4), ["a"])
    for name in ("a.jpg", "a", ".png"):
        with pytest.raises(UsageError, match=r"expected the name of a \.png, \.svg or \.pdf file"):
            save_figure(figure, tmp_path / name)
    with pytest.raises(StorageError, match="cannot save the picture"):
        save_figure(figure, tmp_path / "nowhere" / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_settings_of_the_user_change_nothing_and_stay() -> None:
    outcomes = make_outcomes(["$a$", "b"])
    plain = render_figure(zoo.plot_confusion(outcomes), "svg")
    mine = {"text.usetex": True, "font.size": 30.0, "figure.facecolor": "black", "svg.fonttype": "path"}
    with matplotlib.rc_context(mine):
        assert render_figure(zoo.plot_confusion(outcomes), "svg") == plain
        assert {name: matplotlib.rcParams[name] for name in mine} == mine


def test_a_notebook_shows_a_figure_as_a_picture() -> None:
    figure = zoo.plot_samples(make_images(2, 1, 8, 8), ["a", "b"])
    assert isinstance(figure, Figure)
    picture = Image.open(io.BytesIO(figure._repr_png_()))  # type: ignore[attr-defined]
    assert picture.size == tuple(int(150 * side) for side in figure.get_size_inches())


def test_text_is_cut_in_its_middle_and_broken_at_spaces() -> None:
    with plot_style():
        assert fit_text("short", 9, 200) == "short"
        cut = fit_text("first part of a name, second part of a name", 9, 100)
        assert cut.startswith("first") and cut.endswith("name") and "…" in cut and measure_text(cut, 9) <= 100
        assert fit_text("wide", 9, 1) == "…"
        lines = wrap_text("one two three four five", 9, 50, 3)
        assert " ".join(lines) == "one two three four five" and all(measure_text(line, 9) <= 50 for line in lines)
        assert len(wrap_text("word " * 99, 9, 50, 2)) == 2
