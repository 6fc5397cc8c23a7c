# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Whether an answer to a request with tools is one that an agent can act on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..transport.credentials import quote
from ..untrusted import parse_json
from .answer import Answer, ToolCall
from .apis.dialect import Dialect, Question, Tool
from .leaks import Leak, find_leak

# From best to worst: what a whole run is worth is the worst of its probes.
STRUCTURED, MALFORMED, ABSENT, LEAKED, UNSUPPORTED = "structured", "malformed", "absent", "leaked", "unsupported"
BEST_FIRST = (STRUCTURED, MALFORMED, ABSENT, LEAKED, UNSUPPORTED)

# How servers say that they have no tools for this model: Ollama, vLLM, llama.cpp, SGLang and LM Studio.
_NO_TOOLS = re.compile(
    r"does not support tool|tools? (?:are|is) not supported|tool use is not supported|enable-auto-tool-choice"
    r"|tool-call-parser|tools? param requires --jinja|tool[_ ]choice.{0,40}not supported|unsupported.{0,20}tools?\b",
    re.IGNORECASE,
)

# JSON Schema's names of types, as the values that Python reads from JSON.
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


@dataclass(frozen=True)
class Verdict:
    """C(kind): structured, malformed, absent, leaked or unsupported; C(reason): why, in words."""

    kind: str
    reason: str
    leak: Leak | None = None


def judge(answer: Answer, question: Question, dialect: Dialect, streamed: bool = False) -> Verdict:
    """Tell what an answer is worth to a client that reads it.

    A structured call has the type of its API, an id that no other call has, the name of a tool that was offered, and
    arguments of the API's JSON type that satisfy the tool's schema. Upstream takes any name and unparsed arguments
    (upstream-facts N17); an agent cannot. A call that is there but wrong is malformed: the model did call.
    """
    if answer.tool_calls:
        fault = next(iter(answer.faults), None) or _fault(answer.tool_calls, question, dialect)
        if not fault and streamed and not answer.finish:
            # OpenAI's and OpenClaw's readers take such a stream for one that broke off.
            fault = "a call whose stream ends without a finish reason"
        if fault:
            return Verdict(MALFORMED, fault)
        return Verdict(STRUCTURED, f"structured call to {', '.join(str(call.name) for call in answer.tool_calls)}")
    for where, text in (("text", answer.content), ("reasoning", answer.thoughts)):
        leak = find_leak(text, question.tools)
        if leak:
            said = quote(text, dialect.key, 120)
            return Verdict(LEAKED, f'the tool call came back as {where} ({leak.sign}): "{said}"', leak)
    if answer.faults:
        return Verdict(MALFORMED, answer.faults[0])
    said = quote(answer.content, dialect.key, 120)
    within = f" within {answer.budget} tokens" if answer.cut else ""
    return Verdict(
        ABSENT, f'no tool call{within}, but prose: "{said}"' if said else f"no tool call{within} and no text"
    )


def says_unsupported(server_message: str) -> bool:
    """Tell whether a refused request was refused for its tools."""
    return bool(_NO_TOOLS.search(server_message))


def finish_warning(answer: Answer, dialect: Dialect) -> str | None:
    """Return what is wrong with the reason that the server gives for the end of a turn with a call, None for nothing."""
    if answer.finish == dialect.finish_of_calls:
        return None
    return (
        f"The server ends a tool call with the finish reason {quote(answer.finish, dialect.key, 40) or 'null'!r} instead of "
        f"{dialect.finish_of_calls!r}. OpenClaw drops such a call (openclaw 88791, seen with Qwen3.6-27B-FP8 on GB10), and so "
        "do other agents that go by the finish reason. Update the server, or use the tool-call parser of the model's family."
    )


def _fault(calls: Sequence[ToolCall], question: Question, dialect: Dialect) -> str | None:
    """Return the first thing for which a client would drop a call or fail on it."""
    offered = {tool.name: tool for tool in question.tools}
    ids: set[str] = set()
    for call in calls:
        if not isinstance(call.name, str) or not call.name:
            return "a tool call without a name"
        if call.name not in offered:
            return f"a call to {quote(call.name, dialect.key, 60)}, which was not offered"
        if call.kind != "function":
            return f"a call to {call.name} of type {quote(str(call.kind), dialect.key, 40)} instead of function"
        if not isinstance(call.id, str) or not call.id.strip():
            return f"a call to {call.name} without an id, so that its result cannot be given back"
        if call.id in ids:
            return f"two calls with the same id, {quote(call.id, dialect.key, 40)}"
        ids.add(call.id)
        fault = _fault_of_arguments(call.arguments, offered[call.name], dialect)
        if fault:
            return f"a call to {call.name} whose arguments {fault}"
    return None


def _fault_of_arguments(arguments: Any, tool: Tool, dialect: Dialect) -> str | None:
    shown = quote(str(arguments), dialect.key, 60)
    if dialect.arguments_are_text:
        if not isinstance(arguments, str):
            return f"are not text with JSON in it, but {_json_type(arguments)} ({shown})"
        try:
            arguments = parse_json(arguments)
        except ValueError:
            return f"are not JSON ({shown})"
    if not isinstance(arguments, dict):
        return f"are not a JSON object, but {_json_type(arguments)} ({shown})"
    for name in tool.required:
        if name not in arguments:
            return f"lack {name}, which the tool requires ({shown})"
    for name, value in arguments.items():
        expected = tool.properties.get(name, {})
        fault = _fault_of_value(value, expected, name in tool.required)
        if fault:
            return f"have {fault} as {name} ({shown})"
    return None


def _fault_of_value(value: Any, schema: dict[str, Any], required: bool) -> str | None:
    """Return what is wrong with the value of a property; null stands for an optional one that was left out."""
    if not schema or (value is None and not required):
        return None
    kind = schema["type"]
    fits = isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if not fits and not (kind == "integer" and isinstance(value, float) and value.is_integer()):
        return f"{_json_type(value)} instead of {kind}"
    if "enum" in schema and value not in schema["enum"]:
        return "a value that is not allowed"
    return None


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    return next((name for name in ("boolean", *_TYPES) if isinstance(value, _TYPES[name])), "nothing")
