"""A notebook that walks through a learner's steps, executed by a kernel: what each value looks like there.

Run as a script with a path, this writes the page of it, to be looked at.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from traitlets.config import Config

pytestmark = [
    pytest.mark.slow,
    # Of the libraries that talk to the kernel, not of what runs in it.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

EVIL = "<script>alert(1)</script>&\n"
CELLS = {
    "setup": f"""
        import torch
        import zoo
        def evil(*, root):
            split = torch.arange(24, dtype=torch.uint8).reshape(6, 1, 2, 2) * 10, torch.arange(6) % 2
            return zoo.DataSplits(train=split, test=split, class_names=({EVIL!r}, "b"))
        registry = zoo.Registry.discover()
        registry.add(zoo.DatasetSpec(name="evil", factory=evil, class_names=({EVIL!r}, "b")))
    """,
    "splits": 'splits = zoo.load_dataset("shapes"); splits',
    "samples": 'zoo.samples("shapes", count=9)',
    "loader": 'loader = zoo.make_loader(splits.train, shuffle=True); loader',
    "layers": 'zoo.show("tinyvgg", layers=True)',
    "counts": 'zoo.show("shapes", counts=True)',
    "list": 'zoo.list("models")',
    "plugins": 'zoo.plugins("zoo")[0]',
    "check": 'zoo.check("baseline", "shapes")',
    "bench": 'zoo.bench("baseline", "shapes", seconds=0.01, threads=1)',
    "run": 'result = zoo.run("baseline", "shapes", epochs=2); result',
    "predictor": 'predictor = zoo.load(result.weights); predictor',
    "predictions": 'predictor(splits.test[0][:30])',
    "verify": 'zoo.verify(result.weights)',
    "evaluate": 'evaluation = zoo.evaluate(result.weights); evaluation',
    "outcomes": 'evaluation.outcomes',
    "results": 'zoo.read_results([result.weights])[0]',
    "compare": 'zoo.compare([result.weights])',
    "adapt": 'zoo.adapt(result.weights, num_classes=3, output="three.safetensors")',
    "plot": 'zoo.plot(result.weights, "confusion")',
    "evil samples": 'zoo.samples("evil", registry=registry)',
    "evil splits": 'zoo.load_dataset("evil", registry=registry)',
    "evil counts": 'zoo.show("evil", counts=True, registry=registry)',
    "evil run": 'bad = zoo.run("baseline", "evil", epochs=1, batch_size=2, registry=registry); bad',
    "evil evaluation": 'zoo.evaluate(bad.weights, registry=registry)',
    "evil predictions": 'zoo.load(bad.weights, registry=registry)(torch.zeros(1, 2, 2, dtype=torch.uint8))',
    "error": 'zoo.run(model=3)',
}  # fmt: skip
PLAIN = ("setup", "loader", "plugins", "results", "error")
"""Cells whose value has no table or picture."""


def execute(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what each cell shows, by the kind of the content."""
    cells = [
        nbformat.v4.new_code_cell(re.sub(r"^        ", "", text.strip("\n"), flags=re.M)) for text in CELLS.values()
    ]
    cells[-1].metadata.tags = ["raises-exception"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    for cell in notebook.cells:
        cell.pop("id", None)
    # Not by ports: one that is found free may be taken when the kernel comes to it.
    config = Config(KernelManager={"transport": "ipc", "connection_file": str(folder / "kernel.json")})
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, config=config, timeout=600, kernel_name="python3", resources=place)
    client.execute()
    shown = {}
    for name, cell in zip(CELLS, notebook.cells, strict=True):
        outputs = [
            output for output in cell.outputs if output.output_type in ("execute_result", "display_data", "error")
        ]
        shown[name] = dict(outputs[-1].get("data", {})) if outputs else {}
        if outputs and outputs[-1].output_type == "error":
            shown[name] = {"error": f"{outputs[-1].ename}: {outputs[-1].evalue}"}
    return shown


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        patch.setenv("ZOO_HOME", str(folder / "home"))
        patch.setenv("ZOO_RUNS_DIR", str(folder / "runs"))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        return execute(folder)


def test_every_value_is_short_as_text(shown):
    for name, data in shown.items():
        if name in ("setup", "error"):
            continue
        text = data["text/plain"]
        assert " at 0x" not in text and "tensor(" not in text and "array(" not in text, f"{name}: {text}"
        assert len(text) < (5000 if name in ("layers", "counts", "list", "evil counts") else 400), f"{name}: {text}"


def test_a_table_or_picture_is_shown_where_it_helps(shown):
    for name, data in shown.items():
        assert ("text/html" in data or "image/png" in data) is (name not in PLAIN), name
    assert shown["samples"]["text/html"].count('src="data:image/png;base64,') == 9
    assert shown["run"]["text/html"].count("<tr>") == 4  # headings, two epochs, and where the weights are
    assert shown["predictions"]["text/html"].count("<tr>") == 21 and "30 rows" in shown["predictions"]["text/html"]
    assert "<td" in shown["layers"]["text/html"] and "MaxPool2d" in shown["layers"]["text/html"]
    assert "image/png" in shown["plot"]
    assert shown["loader"]["text/plain"] == "Loader(157 batches of 32, shuffled by seed 42, next epoch 0)"
    assert re.fullmatch(
        r"RunResult\(baseline on shapes, accuracy 0\.\d{4}, loss \d\.\d{4}, 2 epochs in \d+\.\d\d s on cpu, run=.*\)",
        shown["run"]["text/plain"],
    )
    assert shown["error"]["error"] == "SettingError: model: expected a text or None, got 3"


def test_foreign_text_is_escaped(shown):
    seen = 0
    for name, data in shown.items():
        html = data.get("text/html", "")
        assert "<script" not in html, name
        seen += "&lt;script&gt;" in html
        assert name in ("layers", "counts", "list", "evil counts") or "\n" not in data.get("text/plain", ""), name
    assert seen >= 5


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["ZOO_RUNS_DIR"] = str(Path(temporary, "runs"))
        parts = [
            "<meta charset=utf-8><style>body { font: 14px sans-serif } table { border-collapse: collapse }</style>"
        ]
        for title, data in execute(Path(temporary)).items():
            text = escape(data.get("text/plain", data.get("error", "")))
            parts.append(
                f"<h4>{title}</h4><pre>{escape(CELLS[title])}</pre><pre>{text}</pre>{data.get('text/html', '')}"
            )
            if "image/png" in data:
                parts.append(f'<img width=400 src="data:image/png;base64,{data["image/png"]}">')
    Path(sys.argv[1]).write_text("\n".join(parts), encoding="utf-8")
