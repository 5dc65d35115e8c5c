"""Mirrors of one's own: places that are asked for a file before those that its data set declares.

A mirror is a data folder that is served, by `python -m http.server` in it for one. Nothing is believed because of where
it came from: size and checksum are compared as with any other source.
"""

from __future__ import annotations

import os
from urllib.parse import quote

from zoo.errors import SettingError
from zoo.registry.fields import URL_PATTERN

VARIABLE = "ZOO_MIRROR"


def list_mirrors() -> list[str]:
    """Return the addresses that `ZOO_MIRROR` names, separated by spaces; none where it is unset.

    Raises:
        SettingError: one of them is neither https nor on this machine.
    """
    given = os.environ.get(VARIABLE, "").split()
    for address in given:
        if not URL_PATTERN.fullmatch(f"{address}/") or "?" in address or "#" in address:
            what = "expected addresses that begin with https://, or with http:// on this very machine"
            raise SettingError(VARIABLE, what, address)
    return [address.rstrip("/") for address in given]


def place_on(mirror: str, path: str) -> str:
    """Return the address of a file on a mirror; `path` is where the file is in a data folder."""
    return f"{mirror}/{quote(path)}"
