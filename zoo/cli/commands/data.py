"""`zoo data`: the files of data sets, in the data folder and on their way there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.command import Group
from zoo.cli.options import (
    Discover,
    output_options,
    param_options,
    place_options,
    plugin_options,
)
from zoo.cli.output import escape, write_json, write_note, write_result, write_table
from zoo.cli.torch_import import prepare_for_torch

if TYPE_CHECKING:
    from zoo.registry.inventory import Inventory


@click.group("data", cls=Group, no_args_is_help=False)
def data_command() -> None:
    """List, fetch, add, verify, shard and remove the files of data sets."""


@data_command.command("list")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@place_options("data_dir")
@plugin_options
@output_options
def list_command(names: Sequence[str], data_dir: str | None, discover: Discover, as_json: bool) -> None:
    """List which files of data sets are in the data folder.

    No file is read: a data set is complete when its files have the declared sizes, and verified when they were read
    since they last changed. With NAME its files are listed as well.
    """
    from zoo.registry.inventory import data_list

    _write_inventory(data_list(names, data_dir=data_dir, registry=discover()), as_json, files=bool(names))


@data_command.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@place_options("data_dir", "offline")
@plugin_options
@output_options
def fetch_command(names: Sequence[str], discover: Discover, as_json: bool, **places: Any) -> None:
    """Fetch the files of data sets that are missing, and verify all of them.

    A download that broke off goes on where it was. HTTP_PROXY, HTTPS_PROXY and NO_PROXY are followed,
    and ZOO_MIRROR names data folders on servers of your own, which are asked first.
    """
    from zoo.registry.fetching import data_fetch

    _write_inventory(data_fetch(names, registry=discover(), **places), as_json)


@data_command.command("add")
@click.argument("name")
@click.argument("paths", nargs=-1, required=True, metavar="FILE|FOLDER...")
@click.option("--move", is_flag=True, help="Move the files instead of copying them.")
@place_options("data_dir")
@plugin_options
@output_options
def add_command(
    name: str, paths: Sequence[str], move: bool, data_dir: str | None, discover: Discover, as_json: bool
) -> None:
    """Bring files that you downloaded yourself to their place in the data folder.

    They are recognised by size and checksum, whatever they are called, packed or unpacked; a FOLDER is searched.
    """
    from zoo.registry.additions import data_add

    found = data_add(name, paths, move=move, data_dir=data_dir, registry=discover())
    if as_json:
        write_json(found.to_dict())
        return
    write_table([(file.how, file.path) for file in found.added])
    missing = [file.path for file in found.dataset.files if file.state != "complete"]
    lacks = f", missing: {', '.join(missing)}" if missing else ""
    write_result(f"{found.dataset.name}: {found.dataset.state}{escape(lacks)}")


@data_command.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@place_options("data_dir")
@plugin_options
@output_options
def verify_command(names: Sequence[str], data_dir: str | None, discover: Discover, as_json: bool) -> None:
    """Read the files of data sets again, and compare them with their checksums.

    Without NAME, all files that are in the data folder are read. The path of a folder that zoo data shard wrote
    stands for a name too.
    """
    from zoo.registry.inventory import data_verify

    _write_inventory(data_verify(names, data_dir=data_dir, registry=discover()), as_json)


@data_command.command("shard")
@click.argument("dataset", metavar="DATASET")
@click.option("--output", required=True, metavar="DIR", help="The folder to write, which must not have files.")
@click.option("--size", default="256MB", metavar="SIZE", help="How large a tar file becomes, 1GB say.  [256MB]")
@click.option("--seed", type=int, default=0, metavar="N", help="The order of the training samples.  [0]")
@param_options("dataset")
@place_options("data_dir", "offline")
@plugin_options
@output_options
def shard_command(dataset: str, output: str, discover: Discover, as_json: bool, **options: Any) -> None:
    """Write a data set to tar files that are trained on by their path, as webdataset has them.

    Pictures are kept as they are; other images become PNG or arrays of numpy. The folder appears when all is
    written, with an index and a checksum of each file. After Ctrl-C or a kill the same command goes on.
    """
    prepare_for_torch()
    from zoo.data.sharding import data_shard

    found = data_shard(dataset, output, registry=discover(), **options)
    if as_json:
        write_json(found.to_dict())
        return
    write_table(found.rows)
    write_result(f"in {escape(str(found.folder))}")
    write_note(f"next: zoo run --dataset {escape(shlex.quote(str(found.folder)))}")


@data_command.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--yes", is_flag=True, help="Remove them; without it they are listed.")
@place_options("data_dir")
@plugin_options
@output_options
def remove_command(names: Sequence[str], yes: bool, data_dir: str | None, discover: Discover, as_json: bool) -> None:
    """List the files of data sets that are in the data folder, and with --yes remove them.

    What another data set has too stays, and so does all that no data set declares.
    """
    from zoo.registry.inventory import show_size
    from zoo.registry.removal import data_remove

    removal = data_remove(names, yes=yes, data_dir=data_dir, registry=discover())
    if as_json:
        write_json(removal.to_dict())
        return
    if not removal.files:
        write_result(f"nothing of {escape(', '.join(names))} is in {escape(str(removal.data_dir))}")
        return
    write_table(removal.rows)
    write_result(f"{show_size(removal.size)} {'removed from' if yes else 'in'} {escape(str(removal.data_dir))}")
    if not yes:
        write_note("Nothing was removed. Remove them with --yes.")


def _write_inventory(inventory: Inventory, as_json: bool, *, files: bool = False) -> None:
    if as_json:
        write_json(inventory.to_dict())
        return
    rows = list(inventory.rows)
    write_table(rows)
    for each in inventory.datasets if files else ():
        write_result(f"{each.name}")
        write_table([(file.state, file.path) for file in each.files], indent="  ") if each.files else None
    write_result(f"in {escape(str(inventory.data_dir))}")
