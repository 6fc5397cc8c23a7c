# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Tool calls that came back as text.

Models write calls in dozens of ways and a list of them ages, so the rule needs no list: the product knows the names that it
offered and the names of their properties. B(A call is an offered name from which nothing but syntax leads to one of its own
properties in key position, with a value.) Syntax is brackets, quotes, tags, special tokens, fences, line breaks and the words
for "arguments". The first word of prose ends the way, and that is the border:

- C(sessions_send{"message": "hello"}), C(sessions_send(message="hello")), a name and its properties in JSON, XML, YAML or
  ReAct are calls, in reasoning too: an agent would have run them.
- "I should call sessions_send with message=hello" is a plan, "sessions_send takes a message" a description. Both are prose.
- A key whose value is a type, a placeholder, a schema or the property's description is documentation.
- Code that defines the name (C(def sessions_send)) and a method of another object (C(client.read(...))) are programs.
- Names that are English words (read, exec, image) stand in configuration files too. They need a bracket right behind them or a
  key such as C(tool) before them, or have to begin the text.

Two things are calls without an offered name: JSON that has a name and arguments, and the marks that templates put round a
call (C(<tool_call>), C([TOOL_CALLS]), C(<|python_tag|>)), even with nothing behind them, as a truncated answer has. A mark in
quotation marks of its own is spoken of, not used.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .apis.dialect import Tool
from .parsers import BY_NAME, family_of

# Characters that are looked at: 16 for each token of the largest budget, more than any answer with a call in it has.
_LENGTH = 65536

# How far a property may stand from its name: more than the longest header between the two (ids, indices, special tokens).
_REACH = 320


@dataclass(frozen=True)
class Leak:
    """A call in a text. C(sign): what shows it, in words; C(family): of FAMILIES, empty when no known mark tells it."""

    sign: str
    family: str = ""


def find_leak(text: str, tools: Sequence[Tool]) -> Leak | None:
    """Return what shows that a tool call stands in the text, None when nothing does.

    Args:
        text: What the model said, reasoning included.
        tools: The tools in the request.

    """
    text = normalise(text[:_LENGTH])
    mark = next((found for found in _MARKS.finditer(text) if not _only_spoken_of(text, found)), None)
    sign = f"the mark {mark.group(0).strip()}" if mark else _sign_by_name(text, tools)
    return Leak(sign, family_of(text)) if sign else None


def remedy(leak: Leak, streamed: bool = False) -> str:
    """Return what to do about a leak.

    Args:
        leak: What was found.
        streamed: The same call was right without streaming.

    """
    family = BY_NAME.get(leak.family)
    vllm = f"--tool-call-parser {family.vllm}" if family and family.vllm else ""
    note = f" {family.note}" if family and family.note and vllm else ""
    if streamed:
        set_it = f"check that it runs with {vllm}{note}, or" if vllm else "try another --tool-call-parser, or"
        return (
            "The model and its template are good: the same call is right without streaming. What fails is the server's parser "
            f"for streams. Update the server; with vLLM, {set_it} load a corrected parser with --tool-parser-plugin; with "
            "SGLang, try another --tool-call-parser."
        )
    if family:
        start_vllm = (
            f"start vLLM with --enable-auto-tool-choice {vllm}{note}"
            if vllm
            else "vLLM needs a --tool-parser-plugin for this model"
        )
        start_sglang = f", SGLang with --tool-call-parser {family.sglang}" if family.sglang else ""
    else:
        start_vllm = (
            "start vLLM with --enable-auto-tool-choice and the --tool-call-parser that the model card names "
            "(vLLM's page 'Tool Calling' lists them)"
        )
        start_sglang = ", SGLang with its --tool-call-parser"
    return (
        f"The server has to parse this text: {start_vllm}{start_sglang}; llama.cpp with --jinja and, if that is not enough, the "
        "model's own --chat-template-file; with Ollama, use a model whose template has {{ if .ToolCalls }} "
        "('ollama show' lists tools)."
    )


# --- The text as it is read ---------------------------------------------------------------------------------------------

# DeepSeek writes its bars with U+FF5C and its blanks with U+2581; models that imitate it, and chat clients, use others.
_LOOKALIKES = str.maketrans(
    {
        **dict.fromkeys("\uff5c\u2502\u2503\u2758\u00a6", "|"),
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb\uff02", '"'),
        **dict.fromkeys("\u2018\u2019\u201a\uff07", "'"),
        **dict.fromkeys("\u00a0\u2007\u202f\u3000", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff"),
        **dict(zip("\u2581\uff1c\uff1e\uff3b\uff3d\uff5b\uff5d\uff08\uff09\uff1a\uff1d\uff0c", "_<>[]{}():=,")),
    }
)


def normalise(text: str) -> str:
    """Return the text with the bars, quotes and brackets that only look like ASCII as ASCII, HTML entities resolved."""
    return html.unescape(text).translate(_LOOKALIKES)


# --- Marks --------------------------------------------------------------------------------------------------------------

# By kind, not by template: special tokens and tags that speak of calls, and the few marks that speak of nothing.
_MARKS = re.compile(
    # <|tool_calls_begin|>, <|tool_call>, <ifm|tool_call>, <|DSML|invoke, <|python_tag|>, <|START_ACTION|>, <|action_start|>
    r"<\w{0,12}\|/?[\w: ]{0,24}(?:tool_?calls?|tool_sep|tool_request|function_call|action_start|START_ACTION|python_tag"
    r"|python_start|plugin|tools_prefix|invoke_tool|DSML|GCML)[\w: ]{0,24}(?:\|?>|\|)|<tool_calls?\|>"
    # <tool_call>, <minimax:tool_call>, <start_function_call>, <TOOLCALL>, <tool_use>, <use_mcp_tool>, cut off as well
    r"|</?(?:[\w.-]{1,20}[:_.-])?(?:tool|function|func)[_-]?(?:calls?|uses?|invocations?|requests?)\b[^<>\n]{0,60}(?:>|\Z)"
    r"|<use_(?:mcp_)?tool>|<tool_code>|<tool_sep>|<arg_key>"
    # <function=name>, <invoke name="name">, <steptml:invoke name=
    r"|<function=[\w.-]+>|<[\w:]{0,12}invoke\s+name\s*="
    r"|(?-i:(?<![\w\"'])\[/?(?:TOOL_CALLS?|TOOL_REQUEST|END_TOOL_REQUEST)\])|\[(?:called|calling) (?:function|tool)\b"
    r"|\[tool[_ ]calls?:|```tool_(?:calls?|code|request)\b|\bfunctools\s?\[\s*\{|\]<\]minimax\[>\["
    r"|<\|open\|>\s*(?:tools|call)\b|<\|constrain\|>|<\|channel\|>commentary\s+to=|to=functions\.\w|\bfunctions\.[\w-]+:\d"
    r"|function call<\|role_sep|declaration:default_api|^[ \t]*call:\w+\{",
    re.IGNORECASE | re.MULTILINE,
)


def _only_spoken_of(text: str, mark: re.Match[str]) -> bool:
    """Tell whether a mark stands in quotation marks of its own, or before an ellipsis."""
    before, after = text[max(0, mark.start() - 2) : mark.start()], text[mark.end() : mark.end() + 8]
    quoted = before[-1:] in ("'", '"', "`") and before != "``" and after.startswith(before[-1:])
    return quoted or after.lstrip().startswith(("...", "\u2026")) or before.endswith(("..", "\u2026"))


# --- Names --------------------------------------------------------------------------------------------------------------

_NAMESPACE = (
    r"(?:(?:functions?|default_api|tools?|api|multi_tool_use|plugins?|actions?|skills?|mcp)[.:/]|mcp__\w{1,30}?__){0,2}"
)

# What a call's two halves are named across templates.
_TOOL_KEYS = r"tool|tool_?name|function|function_?name|func|recipient_?name|tool_use|call|invoke"
_NAME_KEYS = _TOOL_KEYS + r"|name|action|recipient|method|command|api|to|plugin|skill|operation|id|type"
_ARGUMENT_KEYS = (
    r"(?:(?:action|tool|function|call)[ _]?)?(?:arguments?|args|parameters?|params|kwargs|inputs?)|payload|body|data"
)
_TOOL_KEY = re.compile(_TOOL_KEYS, re.IGNORECASE)
_ARGUMENT_KEY = re.compile(_ARGUMENT_KEYS, re.IGNORECASE)

# A value that documents a property instead of giving it: its type, or a placeholder.
_TYPE = re.compile(
    r"[\"'`<\[{(&]{0,3}(?:str(?:ing)?|integer|int\d{0,2}|number|float|double|bool(?:ean)?|object|array|dict|null|none|undefined"
    r"|required|optional)\b(?=\s*(?:[\"'`>)\]},;|/?=&(\[\n]|$))|[\"'`]{0,2}(?:<(?!escape)[a-z_][\w ./-]*>|\.\.\.|\u2026|your[ _])",
    re.IGNORECASE,
)
# How a description begins, where nothing but the line tells the value's end.
_DESCRIPTION = re.compile(
    r"(?:the|an?|what|which|who|where|when|how|your|any|this|that|text|content|message|name|optional|required|used|specifies)\b",
    re.IGNORECASE,
)
_SCHEMA = re.compile(r"\{\s*[\"']?(?:type|description|anyOf|\$ref|title|enum)[\"']?\s*:")


def _is_word(name: str) -> bool:
    """Tell whether a tool's name is an English word, which stands in texts that are no calls too."""
    return name.isalpha()


def _documents(value: str, tool: Tool, key: str, bare: bool = False) -> bool:
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


def _sign_by_name(text: str, tools: Sequence[Tool]) -> str | None:
    offered = {tool.name: tool for tool in tools}
    names = re.compile(
        rf"{_NAMESPACE}({'|'.join(map(re.escape, sorted(offered, key=len, reverse=True))) or '(?!)'})(?::\d+)?"
    )
    for value in _json_values(text):
        called = _JsonCall(offered, names).find(value)
        if called:
            return f"the JSON of a call to {called}"
    return _CallsInText(text, offered).find()


# --- JSON ---------------------------------------------------------------------------------------------------------------

_OPENING = re.compile(r"[{\[]")
_DESCRIBING_KEYS = {"description", "input_schema", "inputSchema", "properties", "$schema"}


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


class _JsonCall:
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
        arguments = {key: value for key, value in content.items() if _ARGUMENT_KEY.fullmatch(key)}
        for key, value in content.items():
            tool = self._tool(value)
            if tool and (self._takes_any(arguments, tool) or self._is_flat(content, key, tool)):
                return tool.name
            tool = self._tool(key)
            if tool and isinstance(value, dict) and self._is_value_of(value, tool, alone=len(content) == 1):
                return tool.name
        # A tool that was not offered: only what nothing but a call looks like.
        for key in ("name", "tool", "tool_name", "function", "function_name", "recipient_name", "action"):
            name = content.get(key)
            if isinstance(name, str) and name and not self._tool(name):
                kinds = ("arguments",) if key == "name" else ("arguments", "args", "tool_input", "action_input")
                if key.endswith("_name") or content.get("type") in ("function", "tool_use", "tool_call"):
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
            return key == "arguments" or not any(_documents(value, tool, name, bare=True) for name in tool.properties)
        if not isinstance(value, dict) or (
            not tool.properties.keys() & value.keys() and _DESCRIBING_KEYS & value.keys()
        ):
            return False
        if _is_word(tool.name) and key != "arguments" and not tool.properties.keys() & value.keys():
            return False
        return key == "arguments" or not value or self._has_values(value, tool)

    def _has_values(self, content: dict[str, Any], tool: Tool) -> bool:
        """Tell whether an object has values for a tool's properties, or at least none that document them."""
        return not all(
            _documents(value if isinstance(value, str) else json.dumps(value), tool, key)
            for key, value in content.items()
            if value is not None
        )

    def _is_flat(self, content: dict[str, Any], name_key: str, tool: Tool) -> bool:
        """Tell whether the properties stand beside the name."""
        values = {key: value for key, value in content.items() if key != name_key and key in tool.properties}
        known_key = _TOOL_KEY.fullmatch(name_key) or not _is_word(tool.name)
        return bool(values and known_key and self._has_values(values, tool))

    def _is_value_of(self, content: dict[str, Any], tool: Tool, alone: bool) -> bool:
        """Tell whether the properties stand under the name."""
        values = {key: value for key, value in content.items() if key in tool.properties}
        if _is_word(tool.name) and not (alone and set(tool.required) <= values.keys() and len(values) == len(content)):
            return False
        if any(
            isinstance(value, (list, dict)) and tool.properties[key].get("type") == "string"
            for key, value in values.items()
        ):
            return False
        return bool(values and self._has_values(values, tool))


# --- Text ---------------------------------------------------------------------------------------------------------------

# A backslash before a quote or an underscore: JSON inside a JSON string, and Markdown.
_ESCAPED = re.compile(r"\\{1,8}(?=[\"'_/`\[\]{}<>*])")
_ESCAPED_BREAK = re.compile(r"\\{1,8}[nt]")

# One step on the way from a name to its property; none of them can be read in two ways, so the way is linear.
_STEP = re.compile(
    r"(?P<space>\s+)|(?P<fence>```\w{0,12})|(?P<tag></?[\w|\"][^<>\n]{0,80}>|<\|[^<>\n]{0,40}\|)"
    # "id": "call_1" and index="1", but no schema's "type": "object" and no description
    r"|(?P<pair>[\"'](?!description|title)\w{1,24}[\"']\s?:\s?(?:[\"'](?!object)[\w.:-]{0,64}[\"']|\d+|null|true|false)"
    r"|(?!description|title)\w{1,24}\s?=\s?[\"'](?!object)[\w.:-]{0,40}[\"'])"
    rf"|(?P<arguments>(?:with )?(?:{_ARGUMENT_KEYS})\b)|(?P<word>(?:json|yaml|xml|python)\b)|(?P<number>:\d+)"
    r"|(?P<comma>,)|(?P<bullet>(?<=\n)[-*\u2022+]\s)|(?P<sign>[\"'`{}()\[\]:=|*_#>]{1,8}?)",
    re.IGNORECASE,
)
# ReAct in other languages: a line that names nothing we know, and a bracket behind it.
_LABEL = re.compile(r"[^\W\d_][^\n:{}()\[\]\"'`<>.]{0,40}:[*_ ]{0,4}\s{0,4}(?=[{\[\"'`])")

_SLOT = re.compile(
    rf"(?:^|[\s{{\[(,\"'`*_<>|/-])({_NAME_KEYS})[\"'`*_]*\s*(?:(?:=>|[:=])[\s\"'`*_<]*|>[\s\"'`]*){_NAMESPACE}$",
    re.IGNORECASE,
)
# Two groups, for what is defined and what is imported.
_DEFINITION = (
    r"\b(?:def|function|func|fn|fun|sub|proc|class|interface|struct|const|let|var|void)\s+({0})\s*[(<=:{{]"
    r"|\bimport\s+[{{\w, ]{{0,60}}\b({0})\b"
)
_LINE_START = re.compile(
    rf"[\s>*_#`$!/\"'+@\[-]*(?:\d{{1,2}}[.)]\s)?(?:[\w ]{{1,24}}[:=][ \t*_`\"'/]*)?(?:await |print\(|call[ :])?{_NAMESPACE}"
)
_POSITIONAL = re.compile(r"\(\s*(?:\"[^\"\n]{0,500}\"|'[^'\n]{0,500}')\s*\)[\s`;\])]{0,4}(?:\n|$|</?\w|<\|)")
_HTML = r"(?!/?(?:a|b|i|p|div|span|t[dhr]|li|ul|code|pre|input|label|textarea|select|option|meta|button|form|h\d)\b)"


@dataclass
class _Way:
    """What was passed between a name and a property."""

    opened: bool = False
    arguments: bool = False
    input_label: bool = False
    lines: bool = False


class _CallsInText:
    """Looks for a call in text that is no JSON, or broken JSON."""

    def __init__(self, text: str, offered: dict[str, Tool]) -> None:
        self.text = _ESCAPED.sub("", _ESCAPED_BREAK.sub("\n", text))
        self.offered = offered
        names = "|".join(map(re.escape, sorted(offered, key=len, reverse=True))) or "(?!)"
        self.names = re.compile(
            rf"(?<![\w.])(?<!\w-)(?:{_NAMESPACE}|function)({names})(?=json\s*[{{<]|(?!\w|-\w))(?::\d+\b)?"
        )
        self.defined = {found[1] or found[2] for found in re.finditer(_DEFINITION.format(names), self.text)}
        self.is_diff = bool(re.search(r"^(?:@@ -\d|diff --git |--- a/)", self.text, re.MULTILINE))
        self.begin = self.text.rfind("</think>") + len("</think>") if "</think>" in self.text else 0
        self.keys = {name: self._key_pattern(tool) for name, tool in offered.items() if tool.properties}

    @staticmethod
    def _key_pattern(tool: Tool) -> re.Pattern[str]:
        properties = "|".join(map(re.escape, sorted(tool.properties, key=len, reverse=True)))
        return re.compile(
            rf"[\"'`*_]{{0,3}}(?P<plain>{properties})[\"'`*_]{{0,3}}\s{{0,3}}(?:=>|:=|:(?!:)|=(?![=>]))[ \t]{{0,4}}\n?[ \t]{{0,8}}"
            rf"|--(?P<option>{properties})(?:[ =]\s?|$)"
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
        return position - self.begin < 24 and bool(
            re.fullmatch(r"(?:```\w*)?[\s`\[{(\"'<]*", self.text[self.begin : position])
        )

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
            if kind == "comma" and not (quoted or slot or way.opened):
                break
            if kind == "pair" and way.arguments and re.match(r"[\"']?(?:name|type)\b", step.group()):
                break  # A parameter is described, not given.
            way.lines |= kind in ("space", "fence") and "\n" in step.group()
            way.opened |= kind in ("fence", "tag", "pair") or (kind == "sign" and bool(set("{([<") & set(step.group())))
            way.input_label |= (
                kind == "arguments" and way.lines and text[step.end() : step.end() + 3].lstrip("*_").startswith(":")
            )
            way.arguments |= kind == "arguments"
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
            if _documents(value, tool, name, bare):
                return False
        behind = text[found.end() : found.end() + 2]
        strong = way.opened or slot is not None or text[max(0, found.start() - 1) : found.start()] == "<"
        if behind[:1] == " " and behind[1:] == "(" and not self._starts_line(found.start()):
            return False
        if _is_word(tool.name) and not self._fits(tool, name, value):
            return False
        if _is_word(tool.name) and (not self._starts_text(found.start()) or behind[:1] == "]"):
            named = slot is not None and (way.arguments or _TOOL_KEY.fullmatch(slot.group(1)) is not None)
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
        named = slot is not None and (way.arguments or not _is_word(tool.name))
        if way.arguments and slot is not None and not rest:
            return f"the beginning of a call to {tool.name}"
        if rest and way.opened and (named or not _is_word(tool.name)) and position + len(rest) == len(self.text):
            word = re.fullmatch(r"[\"'`]?(\w+)[\"']?:?\s*", rest)
            if word and any(own.startswith(word.group(1)) for own in tool.properties):
                return f"the beginning of a call to {tool.name}"
        if slot is not None and way.input_label and not way.opened and rest:
            if not any(_documents(rest, tool, own, bare=True) or rest.startswith(own) for own in tool.properties):
                return f"{tool.name} with its input"
        return None

    def _lonely(self, tool: Tool, found: re.Match[str]) -> str | None:
        """Tell of calls that show no property."""
        text, start, end = self.text, found.start(), found.end()
        exact = _is_word(tool.name)
        if _POSITIONAL.match(text, end) and (self._starts_text(start) or (not exact and self._starts_line(start))):
            return f"a call to {tool.name} as code"
        if not tool.required and self._starts_text(start) and re.fullmatch(r"\(\s*\)[\s`;\])]*", text[end : end + 16]):
            return f"a call to {tool.name} as code"
        if exact:
            return None
        if re.match(r"[\"'`*_]*[ \t]*(?:\n|$)", text[end : end + 12]):
            line = text.rfind("\n", max(0, start - 60), start) + 1
            if re.fullmatch(r"[\s>*_#-]*action[*_]*\s*:[\s*_`\"']*", text[line:start], re.IGNORECASE):
                return f"the action {tool.name}"
        if text[max(0, start - 2) : start] in ("[/", "</") and text[end : end + 1] in ("]", ">"):
            return f"the closing bracket of {tool.name}"
        # The properties before the name, in JSON that does not parse.
        ahead = text[max(0, start - 600) : start]
        for own in tool.properties:
            reverse = rf"[\"']{re.escape(own)}[\"']\s?:\s?[\"'][^\"'\n]{{0,400}}[\"']\s?\}}?\s?,\s?[\"'](?:{_NAME_KEYS})[\"']\s?:\s?[\"']$"
            if re.search(reverse, ahead):
                return f"{tool.name} near its property {own}"
        return None
