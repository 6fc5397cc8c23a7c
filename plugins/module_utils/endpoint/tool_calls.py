# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The probes with tools: whether an answer is a call that an agent can act on, and what to do if it is not.

A call that arrives malformed is the fault of the server's parser: the remedy is never another model.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..failure import Failure, quote
from ..untrusted import parse_json
from . import questions
from .conversation import Conversation
from .dialect import Answer, Dialect, Question, Tool, ToolCall, Turn
from .report import ABSENT, LEAKED, MALFORMED, PASSED, STRUCTURED, UNSUPPORTED, WARNED, Probe, Report

if TYPE_CHECKING:
    from .leaks import Leak

# How servers say that they have no tools for this model: Ollama, vLLM, llama.cpp, SGLang and LM Studio.
_NO_TOOLS = re.compile(
    r"does not support tool|tools? (?:are|is) not supported|tool use is not supported|enable-auto-tool-choice"
    r"|tool-call-parser|tools? param requires --jinja|tool[_ ]choice.{0,40}not supported|unsupported.{0,20}tools?\b"
    # llama.cpp, whose chat template or grammar fails once tools are offered
    r"|failed to parse grammar|\bjinja\b|chat template|at row \d+, column",
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
    # Here and below: a module is compiled on each call, and a server that calls tools correctly needs none of this.
    from .leaks import call_in, find_leak

    for where, text in (("text", answer.content), ("reasoning", answer.thoughts)):
        leak = find_leak(text, question.tools)
        if leak:
            said = quote(text, dialect.key, 120)
            return Verdict(LEAKED, f'the tool call came back as {where} ({leak.sign}): "{said}"', leak)
    if answer.faults:
        return Verdict(MALFORMED, answer.faults[0])
    misplaced = call_in(answer.whole, question.tools)
    if misplaced:
        return Verdict(MALFORMED, f"a call to {misplaced} at a place or in a shape that no client of this API reads")
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
        "do other agents that rely on the finish reason. Update the server, or use the tool-call parser of the model's family."
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
        if call.id is not None and not isinstance(call.id, str):
            return f"a call to {call.name} whose id is {_json_type(call.id)} instead of string"
        if not call.id or not call.id.strip():
            return f"a call to {call.name} without an id, so its result cannot be returned"
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
            return f"are not a JSON string, but {_json_type(arguments)} ({shown})"
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
    """Return what is wrong with the value of a property; null means an optional one that was left out."""
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
        "The model does call tools, but the server turns the call into something no client can use. Update the server, and set the "
        "tool-call parser of the model's family (vLLM and SGLang --tool-call-parser, llama.cpp --jinja with the model's own "
        "chat template, Ollama a newer release of the model)."
    ),
    ABSENT: (
        "An agent cannot act with this model. Choose a model trained for tool calling, or a larger one; set nemoclaw_require_tools to "
        "false only for plain chat."
    ),
    UNSUPPORTED: (
        "Choose a model that supports tools, or start the server with tool support: with vLLM --enable-auto-tool-choice and "
        "--tool-call-parser, with llama.cpp --jinja, with Ollama a model whose 'ollama show' capabilities include tools."
    ),
}

_STREAM_REMEDY = (
    "The same question without streaming returns a correct call, so the model is fine and the server's streaming parser is not. Agents "
    "stream. Update the server to a newer release, or set another parser for the model (vLLM and SGLang --tool-call-parser); until then no "
    "agent can use it."
)


_RESULT_REMEDY = (
    "Agents return every result this way. Use a chat template that handles tool results, usually the model's own (vLLM and llama.cpp "
    "--chat-template, Ollama the model's TEMPLATE), and update the server."
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
    "lost": _STREAM_REMEDY.replace("a correct call", "the answer"),
    "empty": f"{_RESULT_REMEDY} If the model spends its tokens on reasoning, limit or disable reasoning in the server.",
}


def remedy_of_second_turn(what: str, verdict: Verdict | None, model: str) -> str:
    """Return what to do about a second turn that went wrong; C(verdict) is that on a call which leaked there."""
    return remedy(verdict, False, model) if verdict else _SECOND_TURN_REMEDIES[what]


def remedy(verdict: Verdict, streamed: bool, model: str = "") -> str:
    """Return what to do about a verdict; C(streamed): the unstreamed call was right."""
    if verdict.leak is not None:
        from .leaks import remedy as remedy_of_leak

        leading = "An agent shows this text instead of running the tool. "
        return leading + remedy_of_leak(verdict.leak, streamed, model)
    return _STREAM_REMEDY if streamed else _REMEDIES[verdict.kind]


def failure_code(verdict: Verdict, streamed: bool) -> str:
    """Return the failure code of a verdict that is not C(structured)."""
    return (STREAM_FAILURE_CODES if streamed else FAILURE_CODES)[verdict.kind]


# A model that answers the same question in prose twice, at temperature 0, has no tool call to give (upstream-facts N19 tries
# four times, to bridge a cold load; ours is warm by then).
_ABSENT_TRIES = 2

# A model may call once more before it answers, but not forever.
_MOST_TURNS = 3

# Failures of a streamed request with tools that concern its stream, where the same request works unstreamed.
_STREAM_TROUBLE = (
    "bad_request",
    "connection_lost",
    "error_in_answer",
    "server_error",
    "stream_endless",
    "stream_events_missing",
    "stream_incomplete",
    "stream_malformed",
    "stream_unsupported",
)

# A stream that takes so many times as long as the unstreamed answer hangs.
_HANGS_AFTER = 4


class ToolProbes:
    """The probes with tools on one conversation.

    Args:
        conversation: The connection to the server.
        report: Gets the warnings.
        size: What the model can read.
        required: Whether a probe that does not hold ends the validation; else it is a warning, and no more are asked.
        prompt_tokens: The length of the agent-shaped prompt.

    """

    def __init__(
        self, conversation: Conversation, report: Report, size: questions.Context, required: bool, prompt_tokens: int
    ) -> None:
        self._conversation = conversation
        self._report = report
        self._size = size
        self._required = required
        self._prompt_tokens = prompt_tokens
        # The calls of the last right answer to the small question: the second turn gives their results back.
        self._calls: list[ToolCall] = []
        # Seconds that the last unstreamed answer took.
        self._unstreamed = 0.0
        self._waived = ""

    def small(self, probe: Probe) -> None:
        """Ask for a call, as NemoClaw's own probe does."""
        self._call(probe, questions.SMALL_TOOL_CALL, "small", stream=False)

    def small_streamed(self, probe: Probe) -> None:
        """Ask the same as agents do: servers have parsers of their own for streams."""
        self._call(probe, questions.SMALL_TOOL_CALL, "small", stream=True)

    def agent_shaped(self, probe: Probe) -> None:
        """Ask under an agent's load: minimal probes pass on models that leak under it (NemoClaw #2733, #2731)."""
        self._call(probe, questions.agent_tool_call(self._prompt_tokens), "agent-shaped", stream=False)

    def agent_shaped_streamed(self, probe: Probe) -> None:
        """Ask what an agent asks all day."""
        self._call(probe, questions.agent_tool_call(self._prompt_tokens), "agent-shaped", stream=True)

    def second_turn(self, probe: Probe) -> None:
        """Give the result of the tool back and read what the model says to it, streamed."""
        if self._skipped(probe):
            return
        try:
            turns = self._turns(probe)
        except Failure as failure:
            self._fail(probe, failure)
            return
        again = f", after {turns} calls" if turns > 1 else ""
        probe.outcome, probe.reason = PASSED, f"answers with text once it has the result of the tool{again}"

    def _call(self, probe: Probe, question: Question, label: str, stream: bool) -> None:
        if self._skipped(probe):
            return
        try:
            answer, verdict = self._verdict(probe, question, stream)
        except Failure as failure:
            if failure.code != "context_too_small":
                raise
            self._fail(probe, failure)
            return
        probe.extras = {"tool_calling": verdict.kind}
        if verdict.kind != STRUCTURED or answer is None:
            self._fail(probe, self._failure(verdict, label, stream))
            return
        probe.outcome, probe.reason = PASSED, verdict.reason
        if question is questions.SMALL_TOOL_CALL:
            self._calls = answer.tool_calls
        if not stream:
            self._unstreamed = probe.latency or 0.0
        self._report.warn(finish_warning(answer, self._conversation.dialect))
        for oddity in answer.oddities:
            self._report.warn(
                f"In the stream of a tool call {oddity}. Most agents cope with this; the stream helpers of OpenAI's libraries do not. "
                "Update the server."
            )

    def _verdict(self, probe: Probe, question: Question, stream: bool) -> tuple[Answer | None, Verdict]:
        too_small = self._size.too_small_for(question)
        if too_small:
            raise too_small
        dialect = self._conversation.dialect

        def settled(answer: Answer) -> bool:
            return judge(answer, question, dialect, stream).kind in (STRUCTURED, LEAKED)

        started = time.monotonic()
        for _dummy in range(_ABSENT_TRIES):
            try:
                answer = self._conversation.ask(question, probe, stream, settled)
            except Failure as failure:
                return None, self._refusal(failure, stream, time.monotonic() - started)
            verdict = judge(answer, question, dialect, stream)
            if verdict.kind != ABSENT or answer.cut:
                break
        cut = self._size.cut(question, answer)
        if cut and verdict.kind != STRUCTURED:
            raise cut
        if cut:
            self._report.warn(cut.message)
        return answer, verdict

    def _refusal(self, failure: Failure, stream: bool, seconds: float) -> Verdict:
        """Return the verdict on a request that was refused for its tools; any other failure is raised again."""
        said = failure.details.get("server_message") or failure.message
        if failure.code in ("bad_request", "server_error", "error_in_answer"):
            if questions.is_refusal(said):
                raise self._size.failure(f"it refuses the request: {said}") from failure
            if says_unsupported(said):
                return Verdict(UNSUPPORTED, f"the server refuses tools: {said}")
        hangs = failure.code == "timeout" and 0 < self._unstreamed * _HANGS_AFTER < seconds
        if stream and (hangs or failure.code in _STREAM_TROUBLE):
            return Verdict(UNSUPPORTED, f"the streamed request fails: {failure.message.rstrip('.')}")
        raise failure

    def _turns(self, probe: Probe) -> int:
        """Return the number of results that were given back until the model answered.

        Raises:
            Failure: C(second_turn_refused), C(second_turn_loops), C(second_turn_empty), or C(second_turn_leaked).

        """
        turns: tuple[Turn, ...] = ()
        calls = self._calls
        while len(turns) < _MOST_TURNS:
            turns = (*turns, Turn(tuple(calls), questions.TOOL_RESULT))
            question = replace(questions.SECOND_TURN, turns=turns)
            try:
                answer = self._conversation.ask(question, probe, stream=True)
            except Failure as failure:
                if failure.code not in _STREAM_TROUBLE:
                    raise
                said = failure.details.get("server_message") or failure.message
                raise self._second_turn_failure(
                    "refused", f"the server fails on the result of the tool: {said}"
                ) from failure
            verdict = judge(answer, question, self._conversation.dialect, streamed=True)
            if verdict.leak:
                raise self._second_turn_failure("leaked", verdict.reason, verdict)
            if not answer.tool_calls and not answer.content:
                raise self._silence(probe, question, answer)
            if not answer.tool_calls:
                return len(turns)
            if verdict.kind != STRUCTURED:
                raise self._failure(verdict, "second", stream=True)
            calls = answer.tool_calls
        raise self._second_turn_failure(
            "loops", f"the model calls the tool again each time it gets the result, {_MOST_TURNS} times in a row"
        )

    def _silence(self, probe: Probe, question: Question, answer: Answer) -> Failure:
        """Return the failure for a streamed answer to the result that has no text: the stream's fault or the model's."""
        # vLLM's phi4_mini_json streams nothing at all once tools are offered (0.32).
        if not answer.cut and self._conversation.ask(question, probe).content:
            return self._second_turn_failure(
                "lost", "the streamed answer has no text, although the unstreamed one does"
            )
        within = f" within {answer.budget} tokens" if answer.cut else ""
        what = f"the model says nothing{within} after it gets the result of the tool"
        return self._second_turn_failure("empty", what)

    def _failure(self, verdict: Verdict, label: str, stream: bool) -> Failure:
        how = "streamed " if stream else ""
        return Failure(
            failure_code(verdict, stream),
            f"Model {self._report.model} at {self._report.base_url} gives no structured tool call on the {how}{label} "
            f"request: {verdict.reason.rstrip('.')}. {remedy(verdict, stream, str(self._report.model))}",
            tool_calling=verdict.kind,
            reason=verdict.reason,
        )

    def _second_turn_failure(self, kind: str, what: str, verdict: Verdict | None = None) -> Failure:
        return Failure(
            SECOND_TURN_FAILURE_CODES[kind],
            f"Model {self._report.model} at {self._report.base_url} calls a tool, but does not continue with its result: "
            f"{what.rstrip('.')}. {remedy_of_second_turn(kind, verdict, str(self._report.model))}",
            reason=what,
        )

    def _fail(self, probe: Probe, failure: Failure) -> None:
        """Raise the failure, or make it a warning where tools are not required."""
        if self._required:
            raise failure
        probe.outcome, probe.reason = WARNED, failure.details.get("reason", failure.message)
        self._waived = probe.name
        self._report.warn(
            f"The probe {probe.name} fails, which nemoclaw_require_tools: false allows: {failure.message}"
        )

    def _skipped(self, probe: Probe) -> bool:
        """Tell whether the probe is not worth its tokens, since an earlier one was waived."""
        if self._waived:
            probe.reason = f"not asked, since the probe {self._waived} fails and tools are not required"
        elif probe.name == "second_turn" and not self._calls:
            probe.reason = "not asked, since there is no call whose result could be returned"
        else:
            return False
        return True
