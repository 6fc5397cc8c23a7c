# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What the CLI prints, in shapes that code can use (upstream-facts O4 to O6).

Colours come even into a pipe, errors are wrapped at 80 columns beside a gutter, and several errors exit with 0.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# The gutters of a wrapped error: a cross, a bar, and arrows before its causes.
_GUTTER = re.compile("^ *(?:Error: *)?[\u00d7\u2502\u251c\u2570][\u2500\u25b6]* ?")
_SERVER_MESSAGE = re.compile(r'message: "((?:[^"\\]|\\.)*)"')
_FIELD = re.compile(r"^ +([A-Z][A-Za-z ]*):\s*(.*)$")
_TIMEOUT = re.compile(r"(\d+)s\b")
DEFAULT_TIMEOUT = 60  # seconds, what a route without one gets (openshell-core, inference.rs)


@dataclass(frozen=True)
class RouteSeen:
    """A route as C(inference get) shows it; timeout in seconds."""

    provider: str
    model: str
    version: int | None
    timeout: int


def plain(output: str) -> str:
    """Return the text without its colours."""
    return _ANSI.sub("", output)


def error_of(output: str) -> str:
    """Return the error in an output on one line; the server's own words alone where they are quoted in it.

    0.0.44 writes C(status: NotFound, message: "..."), later releases C(code: '...', message: "..."): only the message is
    the same in all.
    """
    lines = plain(output).splitlines()
    start = next((number for number, line in enumerate(lines) if re.match(r" *[Ee]rror:", line)), 0)
    words = " ".join(_GUTTER.sub("", line).strip() for line in lines[start:])
    text = re.sub(r"^[Ee]rror: *", "", " ".join(words.split()))
    # Since 0.1 the error of a command for several names only counts, and the server's words stand before it.
    quoted = _SERVER_MESSAGE.search(text) or _SERVER_MESSAGE.search(" ".join(" ".join(lines[:start]).split()))
    # Of a message that says no more than this the reason stands among its causes.
    if quoted is None or quoted[1] == "transport error":
        return text
    return quoted[1].replace('\\"', '"')


def fields_of(output: str) -> dict[str, str]:
    """Return the lines C(Name: value) of the first block of an output, names in lower case; the first of a name counts."""
    found: dict[str, str] = {}
    for line in first_block(output):
        matched = _FIELD.match(line)
        if matched:
            found.setdefault(matched[1].lower(), matched[2].strip())
    return found


def first_block(output: str) -> list[str]:
    """Return the lines of the first block, which is all before the second headline.

    C(inference get) prints the user's route, then the system's. A headline starts in the first column and ends with a colon.
    """
    lines = plain(output).splitlines()
    headlines = [number for number, line in enumerate(lines) if re.match(r"\S.*:$", line)]
    return lines[: headlines[1]] if len(headlines) > 1 else lines


def route_of(output: str) -> RouteSeen | None:
    """Return the user's route from C(inference get), or None where none is set.

    Raises:
        ValueError: The text names neither; the message is what it says.

    """
    block = first_block(output)
    if any(line.strip() == "Not configured" for line in block):
        return None
    found = fields_of(output)
    if "error" in found or not {"provider", "model"} <= found.keys():
        raise ValueError(found.get("error") or " ".join(" ".join(block).split()) or "nothing")
    timeout = _TIMEOUT.search(found.get("timeout", ""))
    version = found.get("version", "")
    return RouteSeen(
        provider=found["provider"],
        model=found["model"],
        version=int(version) if version.isdecimal() else None,
        timeout=int(timeout[1]) if timeout else DEFAULT_TIMEOUT,
    )


def keys_of(field: str) -> list[str]:
    """Return the names in C(Credential keys: A, B), none for C(<none>)."""
    return sorted(name for name in (part.strip() for part in field.split(",")) if name and name != "<none>")


def json_of(output: str) -> Any:
    """Return the JSON in an output; a warning may stand before or after it.

    Raises:
        ValueError: There is none.

    """
    text = plain(output)
    start = re.search(r"^[\[{]", text, re.MULTILINE)
    if start is None:
        raise ValueError("it printed no JSON")
    try:
        return json.JSONDecoder().raw_decode(text, start.start())[0]
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error
