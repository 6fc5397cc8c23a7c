# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Tool calls in JSON that stands in a text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .apis.dialect import Tool
from .leak_words import (
    ARGUMENT_KEY,
    TOOL_KEY,
    documents,
    is_word,
)

_OPENING = re.compile(r"[{\[]")
_NAME = re.compile(r"[\w.:/-]{1,128}")
_CALL_TYPES = ("tool_call", "tool_use", "function_call")
_DESCRIBING_KEYS = {"description", "input_schema", "inputSchema", "properties", "$schema"}


def json_values(text: str) -> Iterator[Any]:
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


class CallInJson:
    """Looks for a call in a JSON value, at whatever depth."""

    def __init__(self, offered: dict[str, Tool], names: re.Pattern[str]) -> None:
        self.offered = offered
        self.names = names

    def find(self, value: Any) -> str | None:
        """Return the name of the tool that is called."""
        waiting = [value]
        while waiting:
            value = waiting.pop()
            if isinstance(value, list):
                waiting += reversed(value)
            elif isinstance(value, dict):
                name = self._call(value)
                if name:
                    return name
                waiting += reversed(list(value.values()))
        return None

    def _tool(self, name: Any) -> Tool | None:
        found = self.names.fullmatch(name) if isinstance(name, str) else None
        return self.offered[found.group(1)] if found else None

    def _call(self, content: dict[str, Any]) -> str | None:
        if _DESCRIBING_KEYS & set(content) and "arguments" not in content:
            return None
        arguments = {key: value for key, value in content.items() if ARGUMENT_KEY.fullmatch(key)}
        for key, value in content.items():
            tool = self._tool(value)
            if tool and (
                content.get("type") in _CALL_TYPES
                or self._takes_any(arguments, tool)
                or self._is_flat(content, key, tool)
            ):
                return tool.name
            tool = self._tool(key)
            if tool and isinstance(value, dict) and self._is_value_of(value, tool, alone=len(content) == 1):
                return tool.name
        # A tool that was not offered: only what nothing but a call looks like.
        for key in ("name", "tool", "tool_name", "function", "function_name", "recipient_name", "action"):
            name = content.get(key)
            if isinstance(name, str) and _NAME.fullmatch(name) and not self._tool(name):
                kinds = ("arguments",) if key == "name" else ("arguments", "args", "tool_input", "action_input")
                if key.endswith("_name") or content.get("type") in ("function", *_CALL_TYPES):
                    kinds = (*kinds, "parameters", "input")
                if any(self._looks_like_arguments(content.get(kind)) for kind in kinds):
                    return name
        return None

    @staticmethod
    def _looks_like_arguments(value: Any) -> bool:
        if isinstance(value, str):
            return value.lstrip().startswith("{")
        return isinstance(value, dict) and not ("properties" in value or value.get("type") == "object")

    def _takes_any(self, arguments: dict[str, Any], tool: Tool) -> bool:
        return any(self._takes(key, value, tool) for key, value in arguments.items())

    def _takes(self, key: str, value: Any, tool: Tool) -> bool:
        if isinstance(value, list):
            return any(
                isinstance(item, dict) and item.get("name") in tool.properties and "value" in item for item in value
            )
        if isinstance(value, str):
            bare = "param" in key.lower()
            return key == "arguments" or not any(documents(value, tool, name, bare) for name in tool.properties)
        if value is None:
            return key == "arguments"
        if not isinstance(value, dict) or (
            not tool.properties.keys() & value.keys() and _DESCRIBING_KEYS & value.keys()
        ):
            return False
        if is_word(tool.name) and key != "arguments" and not tool.properties.keys() & value.keys():
            return False
        return key == "arguments" or not value or self._has_values(value, tool)

    def _has_values(self, content: dict[str, Any], tool: Tool) -> bool:
        """Tell whether an object has values for a tool's properties, or at least none that document them."""
        return not all(
            documents(value if isinstance(value, str) else json.dumps(value), tool, key)
            for key, value in content.items()
            if value is not None
        )

    def _is_flat(self, content: dict[str, Any], name_key: str, tool: Tool) -> bool:
        """Tell whether the properties stand beside the name, or in an object beside it."""
        if is_word(tool.name) and not TOOL_KEY.fullmatch(name_key):
            return False
        rest = {key: value for key, value in content.items() if key != name_key}
        for candidate in (rest, *(value for value in rest.values() if isinstance(value, dict))):
            values = {key: value for key, value in candidate.items() if key in tool.properties}
            if values and self._has_values(values, tool):
                return True
        return False

    def _is_value_of(self, content: dict[str, Any], tool: Tool, alone: bool) -> bool:
        """Tell whether the properties stand under the name."""
        values = {key: value for key, value in content.items() if key in tool.properties}
        if is_word(tool.name) and not (alone and set(tool.required) <= values.keys() and len(values) == len(content)):
            return False
        if any(
            isinstance(value, (list, dict)) and tool.properties[key].get("type") == "string"
            for key, value in values.items()
        ):
            return False
        return bool(values and self._has_values(values, tool))
