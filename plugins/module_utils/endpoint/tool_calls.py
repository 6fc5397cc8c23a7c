# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Whether an answer to a request with tools is one that an agent can act on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.answer import Answer
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.apis.dialect import Question
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.leaks import find_leak
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.credentials import quote

# From best to worst: what a whole run is worth is the worst of its probes.
STRUCTURED, ABSENT, LEAKED, UNSUPPORTED = "structured", "absent", "leaked", "unsupported"

FAILURE_CODES = {ABSENT: "tool_calls_absent", LEAKED: "tool_calls_leaked", UNSUPPORTED: "tool_calls_unsupported"}

REMEDIES = {
    # Page, WSL with Windows-Host Ollama: "switch to vLLM with --enable-auto-tool-choice".
    LEAKED: (
        "An agent would show this text instead of running the tool. Use a model whose tool calls this server parses: with "
        "vLLM, start it with --enable-auto-tool-choice and the --tool-call-parser of the model; with llama.cpp, use --jinja "
        "and a template that supports tools; with Ollama, choose a model whose 'ollama show' capabilities include tools."
    ),
    ABSENT: (
        "An agent could not act with this model. Choose a model trained for tool calling, or a larger one; set "
        "nemoclaw_require_tools to false only for plain chat."
    ),
    UNSUPPORTED: (
        "Choose a model or a server start that supports tools: with vLLM --enable-auto-tool-choice and --tool-call-parser, "
        "with llama.cpp --jinja, with Ollama a model whose 'ollama show' capabilities include tools."
    ),
}

# How servers say that they have no tools for this model: Ollama, vLLM, llama.cpp, SGLang and LM Studio.
_NO_TOOLS = re.compile(
    r"does not support tool|tools? (?:are|is) not supported|tool use is not supported|enable-auto-tool-choice"
    r"|tool-call-parser|tools? param requires --jinja|tool[_ ]choice.{0,40}not supported|unsupported.{0,20}tools?\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Verdict:
    """C(kind): structured, leaked, absent or unsupported; C(reason): why, in words."""

    kind: str
    reason: str


def judge(answer: Answer, question: Question, key: str) -> Verdict:
    """Tell what an answer is worth.

    A structured call has type C(function), names a tool that was offered, and has arguments that are one JSON object.
    Upstream takes any name and unparsed arguments (nemoclaw-facts 4.3); an agent cannot.
    """
    offered = {tool.name: tool for tool in question.tools}
    if answer.tool_calls:
        faults = []
        for call in answer.tool_calls:
            arguments = call.parsed_arguments()
            if call.kind != "function" or not isinstance(call.name, str) or not call.name:
                faults.append("a tool call without type function or without a name")
            elif call.name not in offered:
                faults.append(f"a call to {quote(call.name, key, 60)}, which was not offered")
            elif arguments is None:
                faults.append(f"a call to {call.name} whose arguments are not a JSON object")
        if not faults:
            return Verdict(STRUCTURED, f"structured call to {', '.join(str(call.name) for call in answer.tool_calls)}")
        return Verdict(ABSENT, f"the answer has {faults[0]}")
    for where, text in (("text", answer.content), ("reasoning", answer.thoughts)):
        leak = find_leak(text, question.tools)
        if leak:
            return Verdict(LEAKED, f'the tool call came back as {where} ({leak.sign}): "{quote(text, key, 120)}"')
    said = quote(answer.content, key, 120)
    return Verdict(ABSENT, f'no tool call, but prose: "{said}"' if said else "no tool call and no text")


def says_unsupported(server_message: str) -> bool:
    """Tell whether a refused request was refused for its tools."""
    return bool(_NO_TOOLS.search(server_message))
