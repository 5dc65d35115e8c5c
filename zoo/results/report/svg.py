"""SVG: a figure as an element of the page, in the colours and the letters of its style sheet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from zoo.results.plots.colors import COLORS
from zoo.results.plots.style import AXIS_COLOR, GRID_COLOR, TEXT_COLOR, render_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {color.lower(): f"l{index}" for index, color in enumerate(COLORS)}
NAMES |= {TEXT_COLOR: "quiet", AXIS_COLOR: "line", GRID_COLOR.lower(): "line", "#ffffff": "page"}
VARIABLES = {color: f"var(--{name})" for color, name in NAMES.items()}
"""Colours of a figure, and the variables of report.css that stand for them: a dark page has other values."""

SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
"""ElementTree's prefix of all elements, and its name of the attribute that refers to another element."""
COORDINATE, COMMAND = re.compile(r"\d+\.\d+"), re.compile(r"\s*([A-Za-z])\s*")
"""The numbers and the letters of a path."""


def embed_figure(figure: Figure, prefix: str, *, label: str = "", titles: Mapping[str, str] | None = None) -> str:
    """Return a figure as an `svg` element for a page whose policy forbids styles in attributes.

    Its ids begin with `prefix`. With a label it is a picture of that name to a screen reader, which passes over it
    without one. Each artist whose id is in `titles` gets that title and the class `line`.
    """
    figure.patch.set_visible(False)
    drawn = ElementTree.fromstring(render_figure(figure, "svg"))
    # matplotlib does not write the fill of black shapes, because black is what SVG takes by default.
    svg = ElementTree.Element("svg", {"viewBox": drawn.attrib["viewBox"], "fill": VARIABLES[TEXT_COLOR]})
    svg.attrib |= {"role": "img", "aria-label": label} if label else {"aria-hidden": "true"}
    svg.extend(drawn.findall(f"{SVG}g"))
    shapes = [shape.attrib["id"] for shape in svg.iterfind(f".//{SVG}defs/{SVG}path")]
    for element in svg.iter():
        element.tag = element.tag.removeprefix(SVG)
        element.text, element.tail = (element.text or "").strip(), None
        name = element.attrib.pop("id", "")
        if name in shapes:
            element.set("id", f"{prefix}-{shapes.index(name)}")
        if LINK in element.attrib:
            element.set("href", f"#{prefix}-{shapes.index(element.attrib.pop(LINK)[1:])}")
        if titles and name in titles:
            element.set("class", "line")
            title = ElementTree.Element("title")
            title.text = titles[name]
            element.insert(0, title)
        _replace_style(element)
    for group in svg.iter("g"):
        # All markers of a curve look the same. Naming their look once takes a tenth off a page of many runs.
        for marker in group.findall("use"):
            group.attrib |= {key: marker.attrib.pop(key) for key in {*marker.keys()} - {"href", "x", "y"}}
    return ElementTree.tostring(svg, encoding="unicode")


def _replace_style(element: ElementTree.Element) -> None:
    """Turn the style of an element into attributes, leave fonts to the page, and round coordinates to 0.1 points."""
    attributes = element.attrib
    attributes.pop("clip-path", None)
    style = dict(part.split(": ") for part in attributes.pop("style", "").split("; ") if part)
    attributes |= {key: VARIABLES.get(value, value) for key, value in style.items() if not key.startswith("font")}
    for key in attributes.keys() & {"d", "x", "y"}:
        rounded = COORDINATE.sub(lambda number: f"{float(number[0]):.1f}", attributes[key])
        attributes[key] = COMMAND.sub(r"\1", rounded).strip()
