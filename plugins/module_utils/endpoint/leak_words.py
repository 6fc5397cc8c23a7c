# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What calls in text and in JSON have in common: how names and keys are written, and what is no value."""

from __future__ import annotations

import re

from .apis.dialect import Tool

NAMESPACE = (
    r"(?:(?:functions?|default_api|tools?|api|multi_tool_use|plugins?|actions?|skills?|mcp)[.:/]|mcp__\w{1,30}?__){0,2}"
)

# What a call's two halves are named across templates.
TOOL_KEYS = r"tool|tool_?name|function|function_?name|func|recipient_?name|tool_use|call|invoke"
NAME_KEYS = TOOL_KEYS + r"|name|action|recipient|method|command|api|to|plugin|skill|operation|id|type"
ARGUMENT_KEYS = (
    r"(?:(?:action|tool|function|call)[ _]?)?(?:arguments?|args|parameters?|params|kwargs|inputs?)|payload|body|data"
)
TOOL_KEY = re.compile(TOOL_KEYS, re.IGNORECASE)
ARGUMENT_KEY = re.compile(ARGUMENT_KEYS, re.IGNORECASE)

# A value that documents a property instead of giving it: its type, or a placeholder.
_TYPE = re.compile(
    r"[\"'`<\[{(&]{0,3}(?:str(?:ing)?|integer|int\d{0,2}|number|float|double|bool(?:ean)?|object|array|dict|null|none|undefined"
    r"|required|optional)\b(?=\s*(?:[\"'`>)\]},;|/?!=&(\[\n]|\.\s|\.?$))|[\"'`]{0,2}(?:<(?!escape)[a-z_][\w ./-]*>|\.\.\.|\u2026|your[ _])",
    re.IGNORECASE,
)
# How a description begins, where nothing but the line tells the value's end.
_DESCRIPTION = re.compile(
    r"(?:the|an?|what|which|who|where|when|how|your|any|this|that|text|content|message|name|optional|required|used|specifies)\b",
    re.IGNORECASE,
)
_SCHEMA = re.compile(r"\s*\{?\s*[\"']?(?:type|description|anyOf|\$ref|title|enum)[\"']?\s*:")


def is_word(name: str) -> bool:
    """Tell whether a tool's name is an English word, which stands in texts that are no calls too."""
    return name.isalpha()


def documents(value: str, tool: Tool, key: str, bare: bool = False) -> bool:
    """Tell whether what stands after a property's key documents it. C(bare): without quotes or brackets round it."""
    schema = tool.properties.get(key)
    schema = schema if isinstance(schema, dict) else {}
    words = value.strip(" \"'`")
    if words.startswith(tuple(str(choice) for choice in schema.get("enum", ()))):
        return False
    description = str(schema.get("description") or "")
    return bool(
        _TYPE.match(value)
        or _SCHEMA.match(value)
        or (description and words.startswith(description))
        or re.match(rf"{re.escape(key)}\s*(?:[,)}}\]|\n]|$)", value)
        or (bare and _DESCRIPTION.match(value))
    )
