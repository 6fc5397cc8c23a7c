# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What the watch keeps from one run to the next: the last result, and a history that stays small.

No secret is in them, but addresses of servers are: they are closed as the route record is. The metrics are for others to read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..host.machine import read_file
from ..host.replace import replace_file
from ..status.check import Check
from ..status.states import FINE
from ..untrusted import list_of, object_of, parse_json
from .layout import HISTORY, LAST, METRICS

# Runs that found the same are one entry, so that these are changes: weeks of a usual host, and at most some 60 kB.
LIMIT = 200
# Of last.json: what another release wrote is passed over, or no run of this one would ever replace it.
SCHEMA = 1
_DETAIL = 200
_CHECK = {one.name for one in fields(Check)}


def read_last(folder: str) -> dict[str, Any]:
    """Return the result of the last run, empty where there is none that this release can read."""
    last = object_of(_read(folder, LAST))
    checks = [*list_of(last.get("checks")), *filter(None, [object_of(last.get("question")).get("check")])]
    return last if last.get("schema") == SCHEMA and all(map(_is_check, checks)) else {}


def read_history(folder: str) -> list[dict[str, Any]]:
    """Return the entries, the newest last; empty where there are none that can be read."""
    return [one for one in list_of(_read(folder, HISTORY)) if _is_entry(one)]


def _is_check(found: Any) -> bool:
    """Tell whether this release can make a check of it again."""
    return isinstance(found, dict) and {*found} == _CHECK and isinstance(found["name"], str)


def _is_entry(found: Any) -> bool:
    one = object_of(found)
    numbers = all(isinstance(one.get(name), (int, float)) for name in ("since", "until", "runs"))
    return numbers and isinstance(one.get("detail"), str) and isinstance(one.get("codes"), list) and "healthy" in one


def write(folder: str, name: str, content: Any) -> None:
    """Replace a file of the state folder in one step; a string as it is, anything else as JSON."""
    text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
    replace_file(str(Path(folder) / name), text, 0o644 if name == METRICS else 0o600)


def add(history: list[dict[str, Any]], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the history with a result; one that found the same as the newest entry is counted there."""
    wrong = [one for one in result["checks"] if one["state"] not in FINE]
    seen = {
        "healthy": result["healthy"],
        "states": {one["name"]: one["state"] for one in result["checks"]},
        "codes": [one["code"] for one in wrong],
        "closed": result["closed"] is not None,
    }
    newest = history[-1] if history else {}
    if all(newest.get(name) == value for name, value in seen.items()):
        return [*history[:-1], {**newest, "until": result["at"], "runs": newest.get("runs", 1) + 1}]
    detail = wrong[0]["detail"][:_DETAIL] if wrong else ""
    entry = {"since": result["at"], "until": result["at"], "runs": 1, **seen, "detail": detail}
    return [*history, entry][-LIMIT:]


def _read(folder: str, name: str) -> Any:
    try:
        return parse_json(read_file(Path(folder) / name).decode("utf-8"))
    except (OSError, ValueError):
        return None
