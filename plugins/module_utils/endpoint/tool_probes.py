# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The probes with tools: a small request and an agent-shaped one, each unstreamed and streamed, and the second turn."""

from __future__ import annotations

import time
from dataclasses import replace

from ..failure import Failure
from . import context, questions, remedies, tool_calls
from .answer import Answer, ToolCall
from .apis.dialect import Question, Turn
from .conversation import Conversation
from .probe import PASSED, WARNED, Probe
from .report import Report
from .tool_calls import ABSENT, LEAKED, STRUCTURED, UNSUPPORTED, Verdict

# A model that answers the same question in prose twice, at temperature 0, has no tool call to give (upstream-facts N19 tries
# four times, to bridge a cold load; ours is warm by then).
_ABSENT_TRIES = 2

# A model may call once more before it answers; not for ever.
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
        self, conversation: Conversation, report: Report, size: context.Context, required: bool, prompt_tokens: int
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
        self._report.warn(tool_calls.finish_warning(answer, self._conversation.dialect))
        for oddity in answer.oddities:
            self._report.warn(
                f"In the stream of a tool call {oddity}. Most agents cope; the stream helpers of OpenAI's libraries do not. "
                "Update the server."
            )

    def _verdict(self, probe: Probe, question: Question, stream: bool) -> tuple[Answer | None, Verdict]:
        too_small = self._size.too_small_for(question)
        if too_small:
            raise too_small
        dialect = self._conversation.dialect

        def settled(answer: Answer) -> bool:
            return tool_calls.judge(answer, question, dialect, stream).kind in (STRUCTURED, LEAKED)

        started = time.monotonic()
        for _dummy in range(_ABSENT_TRIES):
            try:
                answer = self._conversation.ask(question, probe, stream, settled)
            except Failure as failure:
                return None, self._refusal(failure, stream, time.monotonic() - started)
            verdict = tool_calls.judge(answer, question, dialect, stream)
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
            if context.is_refusal(said):
                raise self._size.failure(f"it refuses the request: {said}") from failure
            if tool_calls.says_unsupported(said):
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
            verdict = tool_calls.judge(answer, question, self._conversation.dialect, streamed=True)
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
            "loops", f"the model calls the tool again each time it is given the result, {_MOST_TURNS} times in a row"
        )

    def _silence(self, probe: Probe, question: Question, answer: Answer) -> Failure:
        """Return the failure for a streamed answer to the result that has no text: the stream's fault or the model's."""
        # vLLM's phi4_mini_json streams nothing at all once tools are offered (0.32).
        if not answer.cut and self._conversation.ask(question, probe).content:
            return self._second_turn_failure("lost", "the stream of the answer has no text, which is there unstreamed")
        within = f" within {answer.budget} tokens" if answer.cut else ""
        what = f"the model says nothing{within} after it was given the result of the tool"
        return self._second_turn_failure("empty", what)

    def _failure(self, verdict: Verdict, label: str, stream: bool) -> Failure:
        how = "streamed " if stream else ""
        return Failure(
            remedies.failure_code(verdict, stream),
            f"Model {self._report.model} at {self._report.base_url} gives no structured tool call on the {how}{label} "
            f"request: {verdict.reason.rstrip('.')}. {remedies.remedy(verdict, stream, str(self._report.model))}",
            tool_calling=verdict.kind,
            reason=verdict.reason,
        )

    def _second_turn_failure(self, kind: str, what: str, verdict: Verdict | None = None) -> Failure:
        return Failure(
            remedies.SECOND_TURN_FAILURE_CODES[kind],
            f"Model {self._report.model} at {self._report.base_url} calls a tool, but does not go on with its result: "
            f"{what.rstrip('.')}. {remedies.remedy_of_second_turn(kind, verdict, str(self._report.model))}",
            reason=what,
        )

    def _fail(self, probe: Probe, failure: Failure) -> None:
        """Raise the failure, or make it a warning where tools are not required."""
        if self._required:
            raise failure
        probe.outcome, probe.reason = WARNED, failure.details.get("reason", failure.message)
        self._waived = probe.name
        self._report.warn(
            f"The probe {probe.name} does not hold, which nemoclaw_require_tools: false allows: {failure.message}"
        )

    def _skipped(self, probe: Probe) -> bool:
        """Tell whether the probe is not worth its tokens, since an earlier one was waived."""
        if self._waived:
            probe.reason = f"not asked, since the probe {self._waived} does not hold and tools are not required"
        elif probe.name == "second_turn" and not self._calls:
            probe.reason = "not asked, since there is no call whose result could be given back"
        else:
            return False
        return True
