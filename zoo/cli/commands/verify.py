"""`zoo verify`: prove that weights still mean what they meant."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli.command import Command
from zoo.cli.options import Discover, output_options, place_options, plugin_options
from zoo.cli.output import escape, write_json, write_result, write_table
from zoo.cli.torch_import import prepare_for_torch


@click.command("verify", cls=Command)
@click.argument("reference", metavar="WEIGHTS")
@place_options("runs_dir", "offline")
@plugin_options
@output_options
def verify_command(reference: str, discover: Discover, as_json: bool, **places: Any) -> None:
    """Prove that weights still mean what they meant.

    WEIGHTS is a file, a run folder, @last, @best, MODEL@DATASET or the name of weights. Digests and metadata are
    checked, the model is rebuilt, and the golden samples must give the probabilities they gave when it was saved.
    """
    prepare_for_torch()
    from zoo.models.verification import verify

    result = verify(reference, registry=discover(), **places)
    if as_json:
        write_json({"path": str(result.path), "checks": result.checks})
        return
    write_table([(name, escape(found)) for name, found in result.checks.items()])
    write_result(f"verified {escape(str(result.path))}")
