"""Wording: what a message of a Python function calls arguments, in the words of the command line.

Functions say `runs_dir=...`, `batch_size=8`, `device='cuda'` or `zoo.run(model='baseline')`, for programs.
Here those become `--runs-dir`, `--batch-size 8`, `--device cuda` and `zoo run --model baseline`.
"""

from __future__ import annotations

import re
import shlex
from ast import literal_eval

SPELLED = {
    "metrics": "metric",
    "params": "param",
    "dataset_params": "dataset-param",
    "loss_params": "loss-param",
    "metric_params": "metric-param",
    "log_params": "log-param",
    "plugins": "plugin",
    "disabled": "no-plugin",
}
"""Options of another name than the argument."""
NAMES = (
    *SPELLED,
    *("config", "recipe", "expect"),
    *(
        "model",
        "dataset",
        "init",
        "freeze",
        "seeds",
        "output",
        "num_classes",
        "time_limit",
        "data_dir",
        "runs_dir",
        "yes",
    ),
    *(
        "kind",
        "single_file",
        "overwrite",
        "batch_size",
        "lr",
        "momentum",
        "weight_decay",
        "epochs",
        "device",
        "threads",
        "workers",
        "seed",
        "offline",
        "validation",
        "precision",
        "loss",
        "class_weights",
        "class_names",
        "input_shape",
        "key",
        "rename",
        "drop",
        "fork",
        "checkpoint_every",
        "max_time",
        "sampler",
        "trials",
        "prune",
        "jobs",
        "augment",
        "balanced_sampling",
        "rank_timeout",
        "processes",
        "models",
        "datasets",
        "part",
    ),
)
"""The arguments that messages name and that are options; all other text stays as it is."""
TEXT = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
VALUE = rf"(?:\.\.\.|True|False|{TEXT}(?: or {TEXT})*|\[{TEXT}\]|\d+(?:\.\d+)?)"
CALL = re.compile(rf"\bzoo\.(\w+)\(((?:(?:\w+={VALUE}|{TEXT})(?:, )?)+)\)")
ARGUMENT = re.compile(
    r"(?P<without>\bwith )?(?<![\w.?&/='\"-])"
    rf"(?P<name>{'|'.join(NAMES)})=(?P<value>{VALUE})"
    r"(?=[\s,.;:)]|$)"
)


def to_options(text: str) -> str:
    """Return a message with options in the place of arguments."""
    return ARGUMENT.sub(_to_option, CALL.sub(_to_command, text))


def _to_command(found: re.Match[str]) -> str:
    given = re.findall(rf"\w+={VALUE}|{TEXT}", found[2])
    words = [shlex.quote(literal_eval(one)) if one[0] in "'\"" else ARGUMENT.sub(_to_option, one) for one in given]
    return " ".join(["zoo", found[1].replace("_", " "), *words])


def _to_option(found: re.Match[str]) -> str:
    option = f"--{SPELLED.get(found['name'], found['name']).replace('_', '-')}"
    given, start = found["value"], found["without"] or ""
    if given == "False":
        return f"{'without' if start else 'no'} {option}"
    if given in ("...", "True"):
        return f"{start}{option}"
    texts = [shlex.quote(literal_eval(text)) for text in re.findall(TEXT, given)]
    return f"{start}{option} {' or '.join(texts) or given}"
