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
# Hermes, Qwen, GLM, Nemotron and MiniMax; Qwen3-Coder, Functionary and Llama 4; Jamba; MiniMax again; Llama 3.1; Mistral;
# DeepSeek; Granite, Phi-4, Kimi and LFM2; FunctionGemma; Command R; gpt-oss.
# DeepSeek writes its bars with U+FF5C and its blanks with U+2581, which look like other characters.
_MARKS = re.compile(
    r"<(?:\w+:)?tool_?calls?>|<function=[\w.-]+>|<function_calls?>|<invoke name=|<\|python_tag\|>|\[TOOL_CALLS\]"
    r"|<[|\uff5c]tool[_\u2581]calls?[\w\u2581]*[|\uff5c]>|<start_function_call>|<\|START_ACTION\|>"
    r"|<\|channel\|>commentary to=|\bto=functions\.",
    re.IGNORECASE,
)

# What the two halves of a call are named across templates.
_ARGUMENT_KEYS = ("arguments", "parameters", "input", "args")

_OPENING = re.compile(r"[{\[]")

# Characters that are looked at: 16 for each token of the largest budget, more than any answer with a call in it has.
_LENGTH = 65536


def find_leak(text: str, offered: Collection[str]) -> str | None:
    """Return what shows that a tool call stands in the text, None when nothing does.

    Args:
        text: What the model said, reasoning included.
        offered: The names of the tools in the request.

    """
    text = text[:_LENGTH]
    mark = _MARKS.search(text)
    if mark:
        return f"the marker {mark.group(0)}"
    for value in _json_values(text):
        name = _call_in(value, offered)
        if name:
            return f"the JSON of a call to {name}"
    names = "|".join(map(re.escape, offered))
    cut_off = re.search(rf'"name"\s*:\s*"({names})"\s*,\s*"(?:arguments|parameters)"', text)
    if cut_off:
        return f"the beginning of the JSON of a call to {cut_off.group(1)}"
    # As Llama 4, Gemma and Olmo write a call, in Python, and as Functionary does, behind arrows.
    code = re.search(rf"\b({names})\(\s*[A-Za-z_]\w*\s*=|>>>({names})\s*\{{", text)
    return f"a call to {code.group(1) or code.group(2)} as code" if code else None


def _json_values(text: str) -> Iterator[Any]:
    """Yield the outermost JSON objects and arrays that stand anywhere in the text."""
    decoder = json.JSONDecoder()
    start = _OPENING.search(text)
    while start:
        try:
            value, position = decoder.raw_decode(text, start.start())
        except ValueError:
            position = start.end()
        except RecursionError:
            return  # Hundreds of open brackets: a model that has lost its way, not one that calls a tool.
        else:
            yield value
        start = _OPENING.search(text, position)


def _call_in(value: Any, offered: Collection[str]) -> str | None:
    """Return the name of the tool that a JSON value calls, at whatever depth."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += reversed(value)
        elif isinstance(value, dict):
            name = value.get("name")
            if isinstance(name, str) and name:
                keys = _ARGUMENT_KEYS if name in offered else ("arguments",)
                if any(isinstance(value.get(key), (str, dict)) for key in keys):
                    return name
            waiting += reversed(list(value.values()))
    return None
