# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The shapes of tool calls in text: as JSON, and as text that is no JSON or broken JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .dialect import Tool

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


# How far a property may stand from its name: more than the longest header between the two (ids, indices, special tokens).
_REACH = 320

# A backslash before a quote or an underscore: JSON inside a JSON string, and Markdown.
_ESCAPED = re.compile(r"\\{1,8}(?=[\"'_/`\[\]{}<>*])")
_ESCAPED_BREAK = re.compile(r"\\{1,8}[nt]")

# One step on the way from a name to its property; none of them can be read in two ways, so the way is linear.
_STEP = re.compile(
    r"(?P<space>\s+)|(?P<fence>```\w{0,12})|(?P<tag></?[\w|\"][^<>\n]{0,80}>|<\|[^<>\n]{0,40}\|)"
    # "id": "call_1" and index="1", but no schema's "type": "object" and no description
    r"|(?P<pair>[\"'](?!description|title)\w{1,24}[\"']\s?:\s?(?:[\"'](?!object)[\w.:-]{0,64}[\"']|\d+|null|true|false)"
    r"|(?!description|title)\w{1,24}\s?=\s?[\"'](?!object)[\w.:-]{0,40}[\"'])"
    rf"|(?P<arguments>(?:with )?(?:{ARGUMENT_KEYS})\b)|(?P<word>(?:json|yaml|xml|python|code|tool_call)\b)|(?P<number>:\d+)"
    r"|(?P<id>\[CALL_ID\]\w{1,24})"
    r"|(?P<comma>,)|(?P<bullet>(?<=\n)[-*\u2022+]\s)|(?P<sign>->|[\"'`{}()\[\]:=|*_#>\u2192])",
    re.IGNORECASE,
)
# ReAct in other languages: a line that names nothing we know, and a bracket behind it.
_LABEL = re.compile(r"[^\W\d_][^\n:{}()\[\]\"'`<>.]{0,40}:[*_ ]{0,4}\s{0,4}(?=[{\[\"'`])")

_SLOT = re.compile(
    rf"(?:^|[\s{{\[(,\"'`*_<>|/-])({NAME_KEYS})[\"'`*_]*\s*(?:(?:=>|[:=])[\s\"'`*_<]*|>[\s\"'`]*){NAMESPACE}$",
    re.IGNORECASE,
)
# Three groups: what is defined, imported, or taken out of a JavaScript module.
_DEFINITION = (
    r"\b(?:def|function|func|fn|fun|sub|proc|class|interface|struct|const|let|var|void)\s+({0})\s*[(<=:{{]"
    r"|\bimport\s+[{{\w, ]{{0,60}}\b({0})\b"
    r"|\{{[\w, ]{{0,60}}\b({0})\b[\w, ]{{0,60}}\}}\s*=(?!=)"
)
_LINE_START = re.compile(
    rf"[\s>*_#`$!/\"'+@%{{\[-]*(?:\d{{1,2}}[.)]\s)?(?:[\w ]{{1,24}}[:=][ \t*_`\"'/]*)?(?:await |print\(|call[ :])?{NAMESPACE}"
)
_POSITIONAL = re.compile(r"\(\s*(?:\"[^\"\n]{0,500}\"|'[^'\n]{0,500}')\s*\)[\s`;\])]{0,4}(?:\n|$|</?\w|<\|)")
# A text that is nothing but a name and something in parentheses or quotes.
_WHOLE = re.compile(r"(\([^()\n]{1,400}\)|[ \t]+(?:\"[^\"\n]{1,400}\"|'[^'\n]{1,400}'))[\s`;\])]*")
# <tool>name</tool><tool_input>hello
_TAGGED_INPUT = re.compile(
    rf"\s{{0,3}}</[\w:-]{{1,24}}>\s{{0,3}}<(?:{ARGUMENT_KEYS})>\s{{0,3}}([^<\s][^<\n]{{0,80}})", re.IGNORECASE
)
_TEXT_START = re.compile(r"(?:```\w*)?[\s`\[{(\"'<]*")
_HTML = r"(?!/?(?:a|b|i|p|div|span|t[dhr]|li|ul|code|pre|input|label|textarea|select|option|meta|button|form|h\d)\b)"


@dataclass
class _Way:
    """What was passed between a name and a property."""

    opened: bool = False
    arguments: bool = False
    input_label: bool = False
    comma: bool = False
    lines: bool = False


class CallInText:
    """Looks for a call in text that is no JSON, or broken JSON."""

    def __init__(self, text: str, offered: dict[str, Tool]) -> None:
        self.text = _ESCAPED.sub("", _ESCAPED_BREAK.sub("\n", text))
        self.offered = offered
        names = "|".join(map(re.escape, sorted(offered, key=len, reverse=True))) or "(?!)"
        self.names = re.compile(
            rf"(?<![\w.])(?<!\w-)(?:{NAMESPACE}|function)({names})(?=json\s*[{{<]|(?!\w|-\w))(?::\d+\b|\.call(?=\())?"
        )
        self.defined = {found[1] or found[2] or found[3] for found in re.finditer(_DEFINITION.format(names), self.text)}
        self.is_diff = bool(re.search(r"^(?:@@ -\d|diff --git |--- a/)", self.text, re.MULTILINE))
        self.begin = self.text.rfind("</think>") + len("</think>") if "</think>" in self.text else 0
        self.keys = {name: self._key_pattern(tool) for name, tool in offered.items() if tool.properties}

    @staticmethod
    def _key_pattern(tool: Tool) -> re.Pattern[str]:
        properties = "|".join(map(re.escape, sorted(tool.properties, key=len, reverse=True)))
        return re.compile(
            rf"[\"'`*_]{{0,3}}(?P<plain>{properties})[\"'`*_]{{0,3}}\s{{0,3}}(?:=>|:=|:(?!:)|=(?![=>]))[ \t]{{0,4}}\n?[ \t]{{0,8}}"
            rf"|--?(?P<option>{properties})(?:[ =]\s?|$)"
            rf"|<{_HTML}(?:[^<>\n]{{0,40}}[^<>\n\w-])?(?P<tag>{properties})(?:[^<>\n\w-][^<>\n]{{0,60}})?>"
            rf"|(?P<between>{properties})\s{{0,3}}<[/|\w]"
            rf"|(?:key|name)\s?=\s?[\"'](?P<attribute>{properties})[\"']",
            re.IGNORECASE,
        )

    def find(self) -> str | None:
        """Return what shows the call."""
        for found in self.names.finditer(self.text):
            tool = self.offered[found.group(1)]
            if tool.name in self.defined or self._in_diff(found.start()):
                continue
            sign = self._follow(tool, found) or self._lonely(tool, found)
            if sign:
                return sign
        return None

    def _in_diff(self, position: int) -> bool:
        line = self.text.rfind("\n", max(0, position - 200), position) + 1
        return self.is_diff and self.text[line : line + 1] in ("+", "-")

    def _starts_line(self, position: int) -> bool:
        line = self.text.rfind("\n", max(0, position - 80), position) + 1
        if not line and position > 80:
            return False
        return bool(_LINE_START.fullmatch(self.text, line, position))

    def _starts_text(self, position: int) -> bool:
        if position - self.begin < 24 and _TEXT_START.fullmatch(self.text, self.begin, position):
            return True
        # Or it is the first tag of all, at the beginning of a line: no file of XML begins behind a sentence.
        line = position - 1 if self.text[position - 1 : position] == "<" else -1
        return line > 0 and self.text[line - 1] == "\n" and self.text.find("<", self.begin, line) < 0

    def _follow(self, tool: Tool, found: re.Match[str]) -> str | None:
        """Walk from a name to one of its properties, as long as there is nothing but syntax."""
        text, start, name_end = self.text, found.start(), found.end()
        before = text[max(0, start - 60) : found.start(1)]
        slot = _SLOT.search(before)
        quoted = before[-1:] in ('"', "'")
        end = min(len(text), name_end + _REACH)
        keys = self.keys.get(tool.name)
        way = _Way()
        position = name_end
        while position < end:
            key = keys.match(text, position) if keys else None
            if key and self._counts(tool, key, way, found, slot):
                return f"{tool.name} near its property {next(name for name in key.groupdict().values() if name)}"
            step = _STEP.match(text, position)
            if step is None or key:
                label = _LABEL.match(text, position) if way.lines and not way.opened and not key else None
                if label is None:
                    break
                position = label.end()
                continue
            kind = step.lastgroup
            if kind == "comma" and not (
                quoted or slot or way.opened or text[step.end() : step.end() + 2].strip() == "{"
            ):
                break
            if kind == "pair" and way.arguments and re.match(r"[\"']?(?:name|type)\b", step.group()):
                break  # A parameter is described, not given.
            way.lines |= kind in ("space", "fence") and "\n" in step.group()
            way.opened |= kind in ("fence", "tag", "pair") or (kind == "sign" and bool(set("{([<") & set(step.group())))
            way.input_label |= (
                kind == "arguments" and way.lines and text[step.end() : step.end() + 3].lstrip("*_").startswith(":")
            )
            way.arguments |= kind == "arguments"
            way.comma |= kind == "comma"
            position = step.end()
        return self._cut_off(tool, way, position, slot, start)

    def _counts(
        self, tool: Tool, key: re.Match[str], way: _Way, found: re.Match[str], slot: re.Match[str] | None
    ) -> bool:
        """Tell whether a property in key position makes the name before it a call."""
        text = self.text
        name = next(name for name in key.groupdict().values() if name)
        name = next((own for own in tool.properties if own.lower() == name.lower()), name)
        value = text[key.end() : key.end() + 120]
        if key.lastgroup == "between":
            return bool(
                re.search(
                    r"(?:key|name|param(?:eter)?|arg(?:ument)?|sep)\|?>\s*$",
                    text[max(0, key.start() - 24) : key.start()],
                )
            )
        if key.lastgroup != "attribute":
            # After a tag, the value is what the tag holds; before one, the property's own text.
            bare = key.lastgroup == "plain" and not re.match(r"[\"'`{\[<|>]", value)
            if documents(value, tool, name, bare):
                return False
        before, behind = text[max(0, found.start() - 1) : found.start()], text[found.end() : found.end() + 2]
        strong = way.opened or slot is not None or before == "<"
        if behind == " (" and (":" in key.group() or not self._starts_line(found.start())):
            return False
        if is_word(tool.name) and not self._fits(tool, name, value):
            return False
        if is_word(tool.name) and (re.match(r"[\"']?[:\]]", behind) or (before == "<" and key.lastgroup != "tag")):
            return False
        if is_word(tool.name) and not self._starts_text(found.start()):
            named = slot is not None and (way.arguments or TOOL_KEY.fullmatch(slot.group(1)) is not None)
            tagged = key.lastgroup in ("tag", "attribute") and slot is not None
            return named or tagged or behind[:1] in ("(", "{", "[") or bool(re.match(r":\d", found.group()[-2:]))
        if strong:
            return True
        return self._starts_line(found.start())

    @staticmethod
    def _fits(tool: Tool, name: str, value: str) -> bool:
        """Tell whether a value could be one of this property's."""
        schema = tool.properties.get(name, {})
        if schema.get("enum"):
            return not value or value.strip(" \"'`<>|{").startswith(tuple(schema["enum"]))
        return schema.get("type") != "string" or value[:1] not in ("[", "{")

    def _cut_off(self, tool: Tool, way: _Way, position: int, slot: re.Match[str] | None, start: int) -> str | None:
        """Tell of a call whose properties never came: the text ends, or ReAct's input is a plain string."""
        rest = self.text[position : position + 64]
        named = slot is not None and (way.arguments or not is_word(tool.name))
        if way.arguments and slot is not None and not rest:
            return f"the beginning of a call to {tool.name}"
        if rest and way.opened and (named or not is_word(tool.name)) and position + len(rest) == len(self.text):
            word = re.fullmatch(r"[\"'`]?(\w+)[\"']?:?\s*", rest)
            if word and any(own.startswith(word.group(1)) for own in tool.properties):
                return f"the beginning of a call to {tool.name}"
        if slot is not None and re.fullmatch(r"(?:a(?:rg(?:s|u\w*)?)?|param\w*|inp?u?)[\"']?", rest) and way.comma:
            return f"the beginning of a call to {tool.name}"
        labelled = slot is not None or self._starts_line(start)
        described = any(documents(rest, tool, own, bare=True) or rest.startswith(own) for own in tool.properties)
        if labelled and way.input_label and not way.opened and rest and not described:
            return f"{tool.name} with its input"
        return None

    def _lonely(self, tool: Tool, found: re.Match[str]) -> str | None:
        """Tell of calls that show no property."""
        text, start, end = self.text, found.start(), found.end()
        exact = is_word(tool.name)
        if _POSITIONAL.match(text, end) and (self._starts_text(start) or (not exact and self._starts_line(start))):
            return f"a call to {tool.name} as code"
        if not tool.required and self._starts_text(start) and re.fullmatch(r"\(\s*\)[\s`;\])]*", text[end : end + 16]):
            return f"a call to {tool.name} as code"
        whole = _WHOLE.fullmatch(text, end) if self._starts_text(start) else None
        if whole and not any(re.match(rf"\W{{0,3}}{re.escape(own)}\b", whole[1]) for own in tool.properties):
            return f"a call to {tool.name} as code"
        if exact:
            return None
        if re.match(r"[\"'`*_]*[ \t]*(?:\n|$|\[[^\]\n]{1,200}\]|:[ \t]*\S)", text[end : end + 240]):
            line = text.rfind("\n", max(0, start - 60), start) + 1
            if re.fullmatch(r"[\s>*_#-]*action[*_]*\s*:[\s*_`\"']*", text[line:start], re.IGNORECASE):
                return f"the action {tool.name}"
        given = _TAGGED_INPUT.match(text, end) if text[max(0, start - 1) : start] == ">" else None
        if given and not any(documents(given[1], tool, own, bare=True) for own in tool.properties):
            return f"{tool.name} with its input"
        if text[max(0, start - 2) : start] in ("[/", "</") and text[end : end + 1] in ("]", ">"):
            return f"the closing bracket of {tool.name}"
        # The properties before the name, in JSON that does not parse.
        ahead = text[max(0, start - 600) : start]
        for own in tool.properties:
            reverse = (
                rf"[\"']{re.escape(own)}[\"']\s?:\s?[\"'][^\"'\n]{{0,400}}[\"'][\s\"'}}\])]{{0,6}},"
                rf"\s?[\"']?(?:{NAME_KEYS})[\"']?\s?[:=]\s?[\"']{NAMESPACE}$"
            )
            if re.search(reverse, ahead):
                return f"{tool.name} near its property {own}"
        return None
