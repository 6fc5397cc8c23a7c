# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What goes wrong with tool calls: the code of each failure and what to do about it.

A call that came, but wrongly, is the work of the server's parser: the remedy is never another model.
"""

from __future__ import annotations

from .leaks import remedy as remedy_of_leak
from .tool_calls import ABSENT, LEAKED, MALFORMED, UNSUPPORTED, Verdict

FAILURE_CODES = {
    ABSENT: "tool_calls_absent",
    LEAKED: "tool_calls_leaked",
    MALFORMED: "tool_calls_malformed",
    UNSUPPORTED: "tool_calls_unsupported",
}

# The same question brought a right call without streaming.
STREAM_FAILURE_CODES = {
    ABSENT: "tool_calls_stream_absent",
    LEAKED: "tool_calls_stream_leaked",
    MALFORMED: "tool_calls_stream_malformed",
    UNSUPPORTED: "tool_calls_stream_failed",
}

_REMEDIES = {
    MALFORMED: (
        "The model does call; what the server makes of the call is of no use to a client. Update the server, and set the "
        "tool-call parser of the model's family (vLLM and SGLang --tool-call-parser, llama.cpp --jinja with the model's own "
        "chat template, Ollama a newer release of the model)."
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

_STREAM_REMEDY = (
    "The same question without streaming brought a right call, so the model is fine and the server's streaming parser is not. "
    "Agents stream. Update the server to a newer release, or set another parser for the model (vLLM and SGLang "
    "--tool-call-parser); until then no agent can use it."
)


_RESULT_REMEDY = (
    "Agents give every result back this way. Use a chat template that knows the results of tools, the model's own as a rule "
    "(vLLM and llama.cpp --chat-template, Ollama the TEMPLATE of the model), and update the server."
)

# By what goes wrong after the result of a tool was given back.
SECOND_TURN_FAILURE_CODES = {
    "refused": "second_turn_refused",
    "loops": "second_turn_loops",
    "empty": "second_turn_empty",
    "lost": "second_turn_empty",
    "leaked": "second_turn_leaked",
}

_SECOND_TURN_REMEDIES = {
    "refused": _RESULT_REMEDY,
    "loops": f"It does not seem to see the result. {_RESULT_REMEDY}",
    "lost": _STREAM_REMEDY.replace("a right call", "the answer"),
    "empty": f"{_RESULT_REMEDY} If the model spends its tokens on reasoning, limit or switch off the reasoning in the server.",
}


def remedy_of_second_turn(what: str, verdict: Verdict | None, model: str) -> str:
    """Return what to do about a second turn that went wrong; C(verdict) is that on a call which leaked there."""
    return remedy(verdict, False, model) if verdict else _SECOND_TURN_REMEDIES[what]


def remedy(verdict: Verdict, streamed: bool, model: str = "") -> str:
    """Return what to do about a verdict; C(streamed): the unstreamed call was right."""
    if verdict.leak is not None:
        leading = "An agent would show this text instead of running the tool. "
        return leading + remedy_of_leak(verdict.leak, streamed, model)
    return _STREAM_REMEDY if streamed else _REMEDIES[verdict.kind]


def failure_code(verdict: Verdict, streamed: bool) -> str:
    """Return the failure code of a verdict that is not C(structured)."""
    return (STREAM_FAILURE_CODES if streamed else FAILURE_CODES)[verdict.kind]
