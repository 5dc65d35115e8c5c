"""The report in a browser: headless Chromium, as a person opens the file, with the keyboard, a phone and a printer."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

import zoo

pytestmark = pytest.mark.slow

HOSTILE = "<script>alert(1)</script>"
PLUGIN = f"""
import torch
import zoo

NAMES = [{HOSTILE!r}, '"><img src=x onerror=alert(2)>', "a very long name of a class that has no space_in_it_anywhere",
         "</style></title><script>alert(3)</script>", *"efghij"]


@zoo.dataset(name="hostile")
def hostile(*, root):
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(400) % 10
    images = torch.randint(0, 60, (400, 3, 16, 16), dtype=torch.uint8, generator=generator)
    images[torch.arange(400), targets % 3, targets] = 255
    return zoo.DataSplits(train=(images[:200], targets[:200]), test=(images[200:], targets[200:]), class_names=NAMES)
"""
SIZES = {"phone": (360, 740), "desktop": (1280, 900)}


def find_chromium() -> str | None:
    """Return the browser: `ZOO_TEST_CHROMIUM`, or the first one that is installed."""
    names = (os.environ.get("ZOO_TEST_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    executable = find_chromium()
    if executable is None:
        pytest.skip("no chromium, chromium-browser or google-chrome here, and ZOO_TEST_CHROMIUM names none")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root, as in most containers, Chromium runs without its sandbox only; the page is our own.
        arguments = ["--no-sandbox"] if os.name == "posix" and os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report on five results with hostile names."""
    folder = tmp_path_factory.mktemp("browser")
    plugin = folder / "hostile_data.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    settings = {"dataset": "hostile", "plugins": [plugin], "epochs": 2, "runs_dir": folder / "runs"}
    runs = [zoo.run(model, seed=seed, **settings).run for model in ("baseline", "relu-mlp") for seed in (1, 2)]
    runs.append(zoo.run("tinyvgg", lr=0.01, **settings).run)
    runs[0] = runs[0].rename(runs[0].with_name("<b onclick=alert(4)>bold"))
    return zoo.report(runs, folder / "report <1>.html", plugins=[plugin])


@pytest.fixture
def open_page(browser: Any, report: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the report; whatever the page complains about or asks for fails the test."""
    contexts, troubles = [], []

    def open_report(size: str = "desktop", scheme: str = "light", fragment: str = "") -> Any:
        width, height = SIZES[size]
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: troubles.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(report.as_uri() + fragment)
        return page

    requests: list[str] = []
    yield open_report
    for context in contexts:
        context.close()
    assert not troubles
    assert {url.partition("#")[0] for url in requests if not url.startswith("data:")} == {report.as_uri()}


def column(page: Any, heading: str, *, table: int = 0) -> list[str]:
    """Return the texts of a column of a sortable table, from top to bottom."""
    found = page.locator("table.sortable").nth(table)
    index = [text.split()[0] for text in found.locator("thead th").all_inner_texts()].index(heading)
    return [row.locator("th, td").nth(index).inner_text() for row in found.locator("tbody tr").all()]


def find_contrast(one: str, other: str) -> float:
    """Return the contrast of two colours written as `rgb(0, 0, 0)`, 1 to 21 (WCAG 2.1)."""
    parts = numpy.array([re.findall(r"\d+", color)[:3] for color in (one, other)], dtype=float) / 255
    linear = numpy.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return float((light + 0.05) / (dark + 0.05))


def test_the_page_opens_without_a_word_and_asks_for_nothing(open_page):
    page = open_page()
    assert page.locator("table.sortable tbody tr").count() > 5
    page.locator("details").first.click()
    # The policy holds even against somebody who gets a script in.
    assert page.evaluate("document.querySelectorAll('script').length") == 1


def test_the_policy_stops_foreign_scripts_and_the_network(browser, report, tmp_path):
    changed = tmp_path / "changed.html"
    evil = "<script>document.title = 'evil'</script><img src='http://127.0.0.1:9/x.png'></main>"
    changed.write_text(report.read_text(encoding="utf-8").replace("</main>", evil), encoding="utf-8")
    context = browser.new_context()
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.goto(changed.as_uri())
    assert page.title() == "5 results on hostile"
    assert sum("Content Security Policy" in text for text in said) == 2
    context.close()


def test_hostile_names_are_text(open_page):
    page = open_page()
    for name in (HOSTILE, '"><img src=x onerror=alert(2)>', "</style></title><script>alert(3)</script>"):
        assert page.get_by_text(name, exact=True).count() > 5
    assert page.get_by_text("<b onclick=alert(4)>bold", exact=True).count() >= 2
    assert page.locator("main b, main script, main img[src=x]").count() == 0
    assert page.title() == "5 results on hostile"


def test_tables_sort_by_click(open_page):
    page = open_page()
    accuracies = column(page, "accuracy")
    assert accuracies == sorted(accuracies, key=lambda text: -float(text.split()[0]))
    heading = page.locator("table.sortable").first.locator("th", has_text="accuracy")
    assert heading.get_attribute("aria-sort") == "descending"
    heading.locator("button").click()
    assert column(page, "accuracy") == sorted(accuracies, key=lambda text: float(text.split()[0]))
    assert heading.get_attribute("aria-sort") == "ascending"
    name = page.locator("table.sortable").first.locator("th", has_text="name")
    name.locator("button").click()
    names = column(page, "name")
    assert names == page.evaluate(
        "names => names.sort((a, b) => a.localeCompare(b, undefined, {numeric: true}))", names[::-1]
    )
    assert (name.get_attribute("aria-sort"), heading.get_attribute("aria-sort")) == ("ascending", "none")


def test_tables_sort_by_key_what_is_not_known_last(open_page):
    page = open_page()
    page.locator("details").first.locator("summary").focus()
    if not page.locator("details").first.get_attribute("open"):
        page.keyboard.press("Enter")
    table = page.locator("table.sortable").nth(2)
    before = column(page, "precision", table=2)
    for key in ("Enter", "Space"):
        table.locator("th", has_text="precision").locator("button").focus()
        page.keyboard.press(key)
        known = [text for text in column(page, "precision", table=2) if text != "-"]
        assert known == sorted(known, key=float, reverse=key == "Enter")
        assert column(page, "precision", table=2)[len(known) :] == ["-"] * (len(before) - len(known))


def test_every_heading_is_reached_by_the_tab_key(open_page):
    page = open_page()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.closest('th')?.innerText.trim() ?? ''"))
    for heading in ("name", "seed", "parameters", "accuracy", "training", "gained", "answer"):
        assert any(text.startswith(heading) for text in reached), heading
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways(open_page, scheme):
    page = open_page("phone", scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    # Wide tables scroll in boxes of their own, which the keyboard reaches.
    boxes = page.evaluate(
        "[...document.querySelectorAll('.wide')].map(box => [box.clientWidth, box.scrollWidth, box.tabIndex])"
    )
    assert max(width for width, *_ in boxes) <= 360 and any(inner > width for width, inner, _ in boxes)
    assert {index for *_, index in boxes} == {0}


def test_dark_is_dark_and_light_is_light(open_page):
    def brightness(scheme: str) -> float:
        picture = Image.open(io.BytesIO(open_page("desktop", scheme).screenshot())).convert("L")
        return float(numpy.asarray(picture).mean())

    assert brightness("dark") < 60 and brightness("light") > 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(open_page, scheme):
    page = open_page(scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    # The contrast of WCAG 2.1, 4.5 for text of this size, of each kind of text and of each shade of the matrix.
    ratios = page.evaluate(
        """() => {
            const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
            const shine = (colour) => {
                const parts = colour.slice(0, 3).map((part) => part / 255)
                    .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
                return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
            };
            const paint = (...colours) => {
                canvas.clearRect(0, 0, 1, 1);
                for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
                return [...canvas.getImageData(0, 0, 1, 1).data];
            };
            const page = getComputedStyle(document.body).backgroundColor;
            const found = {};
            for (const each of document.querySelectorAll('p, a, td, th, dt, dd, .right, .wrong, .quiet, li, code')) {
                const style = getComputedStyle(each);
                const back = style.backgroundColor;
                const shines = [paint(page, back, style.color), paint(page, back)].map(shine);
                const [one, other] = shines.sort((a, b) => b - a);
                found[`${each.tagName} ${each.className}`] = (one + 0.05) / (other + 0.05);
            }
            return found;
        }"""
    )
    assert len(ratios) > 15
    assert not {kind: ratio for kind, ratio in ratios.items() if ratio < 4.5}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_are_seen_on_their_background(open_page, scheme):
    page = open_page(scheme=scheme)
    assert page.get_by_role("img", name="train loss by epoch, a line for each of 5 results").is_visible()
    read = "(each, key) => each.map((one) => getComputedStyle(one)[key])"
    (ground,) = page.locator("body").evaluate_all(read, "backgroundColor")
    curves = page.locator(".charts .line > path").evaluate_all(read, "stroke")
    letters = page.locator(".charts text").evaluate_all(read, "fill")
    marks = page.locator(".charts .line use").evaluate_all(read, "fill")
    assert len(curves) == 15 and len(set(curves)) == 5 and len(letters) > 15
    # WCAG 2.1 asks for 3 of lines and 4.5 of text. Markers of the training are hollow, others as their curve.
    assert min(find_contrast(color, ground) for color in curves) >= 3
    assert min(find_contrast(color, ground) for color in letters) >= 4.5
    assert set(marks) == {*curves, ground}


def test_a_link_to_a_result_opens_it(open_page):
    page = open_page()
    assert page.locator("details[open]").count() == 0
    page.locator("table.sortable").first.locator("a").nth(2).click()
    page.wait_for_function("document.querySelectorAll('details')[2].open")
    page = open_page(fragment="#result-4")
    page.wait_for_function("document.querySelectorAll('details')[3].open")


def test_paper_gets_everything(open_page):
    page = open_page()
    shut = len(page.pdf())
    assert page.locator("details[open]").count() == 5
    assert shut > 10_000
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('th button'), '::after').content") == "none"
