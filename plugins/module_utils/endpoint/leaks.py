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
quotation marks of its own is spoken of, not used. What has too little to go by (C(openclaw sessions_send --message hello), a
call in the middle of a shell line) is no leak: then "absent" is said, and the text is quoted.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .apis.dialect import Tool
from .leak_json import CallInJson, json_values
from .leak_text import CallInText
from .leak_words import NAMESPACE
from .parsers import BY_NAME, family_of, family_of_model

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


def remedy(leak: Leak, streamed: bool = False, model: str = "") -> str:
    """Return what to do about a leak.

    Args:
        leak: What was found.
        streamed: The same call was right without streaming.
        model: The name of the model, which tells the family where the text does not.

    """
    family = BY_NAME.get(leak.family or family_of_model(model))
    vllm = family.vllm if family else ""
    sglang = family.sglang if family else ""
    if streamed:
        return (
            "The model and its template are good: the same call is right without streaming. What fails is the server's parser "
            "for streams. Update the server; with vLLM, "
            + (f"check that it runs with --tool-call-parser {vllm}" if vllm else "try another --tool-call-parser")
            + ", or load a corrected parser with --tool-parser-plugin; with SGLang, "
            + (f"check --tool-call-parser {sglang}." if sglang else "try another --tool-call-parser.")
        )
    if family is None:
        engines = (
            "vLLM with --enable-auto-tool-choice and the --tool-call-parser that the model card names (vLLM's page "
            "'Tool Calling' lists them); SGLang with its --tool-call-parser; "
        )
    else:
        note = f" {family.note}" if family.note else ""
        engines = (
            f"vLLM with --enable-auto-tool-choice --tool-call-parser {vllm}{note}; "
            if vllm
            else "vLLM with a --tool-parser-plugin for this model; "
        ) + (f"SGLang with --tool-call-parser {sglang}; " if sglang else "")
    return (
        f"The server has to parse this text. Start {engines}llama.cpp with --jinja and, if that is not enough, the model's own "
        "--chat-template-file; with Ollama, use a model whose template has {{ if .ToolCalls }} ('ollama show' lists tools)."
    )


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

# How JSON encoders of Go and others write the brackets of tags.
_ESCAPED_SIGN = re.compile(r"\\{1,4}u00(22|26|27|3c|3d|3e)", re.IGNORECASE)


def normalise(text: str) -> str:
    """Return the text with the bars, quotes and brackets that only look like ASCII as ASCII, HTML entities resolved."""
    text = _ESCAPED_SIGN.sub(lambda found: chr(int(found[1], 16)), text)
    return html.unescape(text).translate(_LOOKALIKES)


# By kind, not by template: special tokens and tags that speak of calls, and the few marks that speak of nothing.
_MARKS = re.compile(
    # <|tool_calls_begin|>, <|tool_call>, <ifm|tool_call>, <|DSML|invoke, <|python_tag|>, <|START_ACTION|>, <|action_start|>
    r"<\w{0,12}\|/?[\w: ]{0,24}(?:tool_?calls?|tool_sep|tool_request|function_call|action_start|START_ACTION|python_tag"
    r"|python_start|plugin|tools_prefix|invoke_tool|DSML|GCML)[\w: ]{0,24}(?:\|?>|\|)|<tool_calls?\|>"
    # <tool_call>, <minimax:tool_call>, <start_function_call>, <TOOLCALL>, <tool_use>, <use_mcp_tool>, cut off as well
    r"|</?(?:[\w.-]{1,20}[:_.-])?(?:tool|function|func)[_-]?(?:calls?|uses?|invocations?|requests?)\b[^<>\n]{0,60}(?:>|\Z)"
    r"|<use_(?:mcp_)?tool>|<tool_code>|<tool_sep>|<arg_key>"
    # <function=name>, <invoke name="name">, <steptml:invoke name=
    r"|<function=[\w.-]+(?:>|\Z)|<[\w:]{0,12}invoke\s+name\s*="
    r"|(?-i:(?<![\w\"'])\[/?(?:TOOL_CALLS?|TOOL_REQUEST|END_TOOL_REQUEST)\])|\[(?:called|calling) (?:function|tool)\b"
    r"|\[tool[_ ]call:\s*\w|```tool_(?:calls?|code|request)\b|\bfunctools\s?\[\s*\{|\]<\]minimax\[>\["
    r"|<\|open\|>\s*(?:tools|call)\b|<\|constrain\|>|<\|channel\|>commentary\s+to=|to=functions\.\w"
    r"|\bto=\w[\w.]*\s*(?:json|code)\s*\{|\bfunctions\.[\w-]+:\d"
    r"|function call<\|role_sep|declaration:default_api|^[ \t]*call:\w+\{|\b(?:brave_search|wolfram_alpha)\.call\(",
    re.IGNORECASE | re.MULTILINE,
)

_WORDS_FOR_MARKS = re.compile(
    r"[ \t]+(?:xml )?(?:tags?|blocks?|markers?|marks?|tokens?|elements?|format|syntax|section)\b", re.IGNORECASE
)


def _only_spoken_of(text: str, mark: re.Match[str]) -> bool:
    """Tell whether a mark stands in quotation marks of its own, round an ellipsis or nothing, or before a word for it."""
    before, after = text[max(0, mark.start() - 40) : mark.start()], text[mark.end() : mark.end() + 40]
    quoted = before[-1:] in ("'", '"', "`") and before[-2:] != "``" and after.startswith(before[-1:])
    elided = after.lstrip().startswith(("...", "\u2026")) or before.rstrip().endswith(("...", "\u2026"))
    tag = re.escape(mark.group().strip("</>"))
    empty = re.match(rf"</{tag}>", after) or re.search(rf"<{tag}>$", before)
    return bool(quoted or elided or empty or _WORDS_FOR_MARKS.match(after))


def _sign_by_name(text: str, tools: Sequence[Tool]) -> str | None:
    offered = {tool.name: tool for tool in tools}
    names = re.compile(
        rf"{NAMESPACE}({'|'.join(map(re.escape, sorted(offered, key=len, reverse=True))) or '(?!)'})(?::\d+)?"
    )
    calls = CallInJson(offered, names)
    for value in json_values(text):
        called = calls.find(value)
        if called:
            return f"the JSON of a call to {called}"
    return CallInText(text, offered).find()
