# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What comes from outside, in the types that the code expects, whatever was sent."""

from __future__ import annotations

import json
import re
from typing import Any

# More digits are no number anybody means, and Python refuses to read more than 4300 of them.
_NUMBER = re.compile(r"[0-9]{1,18}")
# No store has as much, and Python divides no integers that no float can hold.
_TOO_MANY_BYTES = 10**18


def parse_json(text: str | bytes) -> Any:
    """Return the JSON value.

    Raises:
        ValueError: For text that is no JSON, and for JSON that is nested deeper than the interpreter can follow.

    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def object_of(value: Any) -> dict[str, Any]:
    """Return the value where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """Return the value where it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def size_of(value: Any) -> int:
    """Return the value where it is a number of bytes, else 0."""
    return value if isinstance(value, int) and 0 < value < _TOO_MANY_BYTES else 0


def count_of(text: str | None) -> int | None:
    """Return the number in a header such as Content-Length, None where there is none."""
    text = (text or "").strip()
    return int(text) if _NUMBER.fullmatch(text) else None
