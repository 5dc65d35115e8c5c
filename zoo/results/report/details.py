"""Details: what a report says of one result alone."""

from __future__ import annotations

import re
from typing import Any

from zoo.records.origins import DatasetOrigin
from zoo.records.repeat import write_command
from zoo.records.runs import RunRecord
from zoo.results.plots.colors import find_step
from zoo.results.reading import Result, require_outcomes
from zoo.results.report.thumbnails import draw_matrix
from zoo.storage.folders import hide_home
from zoo.training.confusion import list_confusions, score_classes

MAX_TABLE_CLASSES, MAX_IMAGE_CLASSES = 20, 200
"""Most classes of a confusion matrix that is a table of counts, and of one that is an image. More are not drawn."""
OPTION = re.compile(r" (?=--\w)")
"""What stands between the options of a command; a line is to be broken there."""


def describe_result(result: Result) -> dict[str, Any]:
    """Return what the page says of one result beside the others: confusion matrix, scores of classes, settings."""
    outcomes, told = require_outcomes(result), result.run_record or result.weights_metadata
    matrix = outcomes.matrix
    shares = matrix / matrix.sum(dim=1, keepdim=True)  # NaN in the row of a class without samples
    names, size = outcomes.class_names, len(outcomes.class_names)
    scores = score_classes(matrix, names)
    table: list[tuple[str, list[tuple[int, str]]]] = []
    if size <= MAX_TABLE_CLASSES:
        for name, counts, row in zip(names, matrix.tolist(), shares.tolist(), strict=True):
            total = sum(counts)
            kinds = [f"s{find_step(share)}" if total else "empty" for share in row]
            table.append((name, list(zip(counts, kinds, strict=True))))
    else:
        scores = sorted(scores, key=lambda score: (score.f1 is None, score.f1))[:MAX_TABLE_CLASSES]
    config = {key: value for key, value in (told.train_config or {}).items() if value is not None}
    dataset = told.dataset or DatasetOrigin(name="")
    settings = {
        "model": told.model,
        **{f"model {key}": value for key, value in told.params.items()},
        "data set": dataset.name,
        **{f"data set {key}": value for key, value in (dataset.params or {}).items()},
        **{f"{split} samples": f"{count:,}" for split, count in (dataset.samples or {}).items()},
        "digest of the data": dataset.digest,
        **{key.replace("_", " "): value for key, value in config.items()},
        "started from": told.init.path if told.init else None,
        "frozen": ", ".join(told.frozen),
    }
    record = result.run_record or RunRecord()
    environment = {
        "started": record.started,
        "device": record.device_name or told.device,
        "threads": told.threads,
        **told.versions,
        "weights": hide_home(str(result.weights)),
        "digest of the tensors": result.weights_metadata.digests.get("tensors"),
    }
    return {
        "names": names,
        "table": table,
        "picture": draw_matrix(shares.numpy()) if MAX_TABLE_CLASSES < size <= MAX_IMAGE_CLASSES else "",
        "confusions": list_confusions(matrix, names),
        "scores": scores,
        "all_scores": size <= MAX_TABLE_CLASSES,
        "settings": {
            key: hide_home(value) if isinstance(value, str) else value
            for key, value in settings.items()
            if value not in (None, "")
        },
        "environment": {key: value for key, value in environment.items() if value is not None},
        "command": OPTION.split(hide_home(command)) if (command := write_command(told)) else [],
    }
