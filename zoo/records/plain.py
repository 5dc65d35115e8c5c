"""Plain data: what JSON can hold, made of records, and its digest."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any


def to_json_data(value: Any) -> Any:
    """Return `value` with records as tables, tuples as lists and numbers that are not finite as None."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return to_json_data(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): to_json_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_data(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table as `to_json_data` does."""
    return {key: to_json_data(value) for key, value in table.items()}


def hash_json(value: Any) -> str:
    """Return the SHA-256 of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
