# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Tool calls in text that is no JSON, or broken JSON: the walk from a name to its property."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .apis.dialect import Tool
from .leak_words import (
    ARGUMENT_KEYS,
    NAME_KEYS,
    NAMESPACE,
    TOOL_KEY,
    documents,
    is_word,
)

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
    rf"|(?P<arguments>(?:with )?(?:{ARGUMENT_KEYS})\b)|(?P<word>(?:json|yaml|xml|python|code)\b)|(?P<number>:\d+)"
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
