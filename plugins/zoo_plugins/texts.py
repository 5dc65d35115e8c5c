"""Texts of the command line, for factories whose params have no annotations to convert them by."""

from __future__ import annotations

import json
from typing import Any


def read_value(value: Any) -> Any:
    """Return the number, true, false, null or list that a text means; anything else as it was given."""
    try:
        read = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
    return value if isinstance(read, str | dict) else read
