# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Tool calls that came back as text.

Upstream sees a leak only where the whole text is one JSON object (nemoclaw-facts 4.3). Models leak in more ways: inside
code fences, in arrays, in the tags and markers of their own templates, and with a sentence before or after.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

# The marks that templates put round a call; a server that parses them never lets one through as text.
# Hermes and Qwen, Qwen3-Coder, Llama 3.1, Mistral, Functionary and Llama 4, DeepSeek, Granite and Phi-4, gpt-oss.
# DeepSeek writes its bars with U+FF5C, which looks like another character.
_MARKS = re.compile(
    r"<tool_calls?>|<function=[\w.-]+>|<function_calls?>|<\|python_tag\|>|\[TOOL_CALLS\]|<\uff5ctool▁calls?▁begin\uff5c>"
    r"|<\|tool▁calls?▁begin\|>|<\|tool_calls?\|>|<\|channel\|>commentary to=functions"
)

# What the two halves of a call are named across templates.
_ARGUMENT_KEYS = ("arguments", "parameters", "input", "args")


def find_leak(text: str, offered: Collection[str]) -> str | None:
    """Return what shows that a tool call stands in the text, None when nothing does.

    Args:
        text: What the model said, reasoning included.
        offered: The names of the tools in the request.

    """
    mark = _MARKS.search(text)
    if mark:
        return f"the marker {mark.group(0)}"
    for value in _json_values(text):
        name = _call_in(value, offered)
        if name:
            return f"the JSON of a call to {name}"
    cut_off = re.search(
        r'"name"\s*:\s*"(' + "|".join(map(re.escape, offered)) + r')"\s*,\s*"(?:arguments|parameters)"', text
    )
    return f"the beginning of the JSON of a call to {cut_off.group(1)}" if cut_off else None


def _json_values(text: str) -> Iterator[Any]:
    """Yield the outermost JSON objects and arrays that stand anywhere in the text."""
    decoder = json.JSONDecoder()
    position = 0
    while True:
        starts = [start for start in (text.find("{", position), text.find("[", position)) if start >= 0]
        if not starts:
            return
        try:
            value, position = decoder.raw_decode(text, min(starts))
            yield value
        except (ValueError, RecursionError):
            position = min(starts) + 1


def _call_in(value: Any, offered: Collection[str]) -> str | None:
    """Return the name of the tool that a JSON value calls, at whatever depth."""
    if isinstance(value, list):
        return next(filter(None, (_call_in(entry, offered) for entry in value)), None)
    if not isinstance(value, dict):
        return None
    name = value.get("name")
    if isinstance(name, str) and name:
        keys = _ARGUMENT_KEYS if name in offered else ("arguments",)
        if any(isinstance(value.get(key), (str, dict)) for key in keys):
            return name
    return _call_in(list(value.values()), offered)
