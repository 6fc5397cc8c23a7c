# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The probe ladder: each rung proves one thing that an agent needs, and no later rung means much without the earlier.

models -> warm-up -> completion -> streaming -> tool call -> agent-shaped tool call -> context size
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint import models, questions, tool_calls
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.apis.dialect import Question
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.conversation import Conversation
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.probe import (
    FAILED,
    PASSED,
    SKIPPED,
    WARNED,
    Probe,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.report import Report
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure

# pains E 34: OpenClaw's floor; below it the agent's own prompt leaves no room for work.
CONTEXT_FLOOR = 16384

# A model that answers the same question in prose three times has no tool calls to give (nemoclaw-facts 4.5 tries four
# times, to bridge a cold load; ours is warm by then).
_ABSENT_TRIES = 3

# How servers say that a prompt is longer than their context: vLLM, llama.cpp, Ollama and routers.
_CONTEXT_EXCEEDED = re.compile(
    r"context (?:length|size|window)|maximum context|exceeds? the (?:available )?context|prompt is too long", re.I
)


@dataclass(frozen=True)
class Demands:
    """What the user asks of the model."""

    require_tools: bool = True
    min_context_window: int = 0
    agent_prompt_tokens: int = questions.AGENT_PROMPT_TOKENS


class Ladder:
    """Climbs one API of one server.

    Args:
        conversation: The way to the server.
        demands: What must hold.
        report: Filled rung by rung.
        only: Names of the rungs to climb; by default all. Without C(warm_up) the conversation knows its model already.

    """

    def __init__(
        self, conversation: Conversation, demands: Demands, report: Report, only: Collection[str] = ()
    ) -> None:
        self.conversation = conversation
        self.demands = demands
        self.report = report
        self.entry: dict[str, Any] = {}
        rungs: list[tuple[str, Callable[[Probe], None]]] = [
            ("models", self._models),
            ("warm_up", self._warm_up),
            ("completion", self._completion),
            ("streaming", self._streaming),
            ("tool_call", self._tool_call),
            ("agent_tool_call", self._agent_tool_call),
            ("context", self._context),
        ]
        api = conversation.dialect.name
        self._rungs = [(Probe(name, api), rung) for name, rung in rungs if not only or name in only]

    def climb(self) -> None:
        """Climb to the top.

        Raises:
            Failure: At the first rung that does not hold; the probes above it stay C(skipped).

        """
        self.report.probes += [probe for probe, _rung in self._rungs]
        for probe, rung in self._rungs:
            try:
                rung(probe)
            except Failure as failure:
                probe.outcome = FAILED
                probe.reason = failure.details.pop("reason", failure.message)
                failure.details.setdefault("probe", probe.name)
                raise

    def _models(self, probe: Probe) -> None:
        client = self.conversation.client
        url = f"{client.base}{self.conversation.dialect.models_path}"
        try:
            served = models.entries(self.conversation.get(url, probe), url)
        except Failure as failure:
            if failure.code != "not_found":
                raise
            self._check_for_v1(failure)
            if not self.report.model:
                failure.message += " If the server only lacks a list of models, name the model: set nemoclaw_model."
                raise
            self._pass(probe, f"{url} answered {probe.status}: the server does not list its models")
            probe.outcome = SKIPPED
            return
        self.entry = models.choose(self.report.model, served, url, client.key)
        self.report.models = [str(entry["id"]) for entry in served]
        self.report.model = str(self.entry["id"]) if not self.report.model else self.report.model
        self._pass(probe, f"serves {self.report.model}" + (f" and {len(served) - 1} more" if len(served) > 1 else ""))

    def _check_for_v1(self, failure: Failure) -> None:
        """Say so when only the /v1 is missing from the base URL, the commonest mistake there is."""
        base = self.conversation.client.base
        if self.conversation.dialect.models_path.startswith("/v1") or base.path.endswith("/v1"):
            return
        try:
            self.conversation.get_once(f"{base}/v1/models", Probe("models", ""))
        except Failure:
            return
        raise Failure(
            "not_found",
            f"There is no OpenAI-compatible API under {base}, but there is one under {base}/v1: use that as the base URL.",
            status=404,
        ) from failure

    def _warm_up(self, probe: Probe) -> None:
        # The first answer may wait for a load of minutes, so it may take all the time there is.
        self.conversation.model = str(self.report.model)
        self.conversation.ask(questions.WARM_UP, probe, questions.WARM_UP_BUDGET, share=1.0)
        self._pass(probe, "the model is loaded and answers")

    def _completion(self, probe: Probe) -> None:
        answer = self.conversation.ask(questions.COMPLETION, probe)
        if answer.is_reasoning_only:
            raise Failure(
                "reasoning_only",
                f"The model spent {questions.BUDGETS[-1]} tokens on reasoning and never answered a one-word question. Limit or "
                "switch off its reasoning in the server, or choose another model.",
            )
        if not answer.content:
            raise Failure(
                "empty_answer",
                "The model answered with no text. Look at the chat template and the server's log, or choose another model.",
            )
        if not answer.reasoning and answer.thoughts:
            self.report.warnings.append(
                "The model's reasoning stands inside its text, in <think> tags. Start the server with the model's reasoning "
                "parser, or the agent will show it."
            )
        self._pass(probe, "answers with text")

    def _streaming(self, probe: Probe) -> None:
        answer, times = self.conversation.stream(questions.STREAMING, probe)
        if not answer.content:
            raise Failure(
                "empty_answer", "The stream ended without any text. Look at the server's log, or choose another model."
            )
        probe.extras = {
            "deltas": answer.deltas,
            "first_delta": round(times.first_delta or 0, 3),
            "last_delta": round(times.last_delta or 0, 3),
        }
        self._pass(
            probe, f"{answer.deltas} pieces, after {times.first_delta or 0:.2f} s to {times.last_delta or 0:.2f} s"
        )

    def _tool_call(self, probe: Probe) -> None:
        self._judge(probe, questions.SMALL_TOOL_CALL)

    def _agent_tool_call(self, probe: Probe) -> None:
        self._judge(probe, questions.agent_tool_call(self.demands.agent_prompt_tokens))

    def _judge(self, probe: Probe, question: Question) -> None:
        verdict = self._verdict(probe, question)
        probe.extras = {"tool_calling": verdict.kind}
        if verdict.kind == tool_calls.STRUCTURED:
            self._pass(probe, verdict.reason)
        elif self.demands.require_tools:
            raise Failure(
                tool_calls.FAILURE_CODES[verdict.kind],
                f"Model {self.report.model} at {self.report.base_url} gives no structured tool call on the "
                f"{'agent-shaped' if len(question.tools) > 3 else 'small'} request: {verdict.reason}. "
                f"{tool_calls.REMEDIES[verdict.kind]}",
                tool_calling=verdict.kind,
                reason=verdict.reason,
            )
        else:
            probe.outcome, probe.reason = WARNED, verdict.reason
            self.report.warnings.append(
                f"Tool calls are {verdict.kind}, which nemoclaw_require_tools allows: {verdict.reason}."
            )

    def _verdict(self, probe: Probe, question: Question) -> tool_calls.Verdict:
        for _dummy in range(_ABSENT_TRIES):
            try:
                answer = self.conversation.ask(question, probe)
            except Failure as failure:
                said = failure.details.get("server_message") or failure.message
                if failure.code in ("bad_request", "server_error", "error_in_answer"):
                    if _CONTEXT_EXCEEDED.search(said):
                        raise self._context_failure(f"it refuses the agent-shaped request: {said}") from failure
                    if tool_calls.says_unsupported(said):
                        return tool_calls.Verdict(tool_calls.UNSUPPORTED, f"the server refuses tools: {said}")
                raise
            verdict = tool_calls.judge(answer, question, self.conversation.client.key)
            if verdict.kind != tool_calls.ABSENT:
                break
        return verdict

    def _context(self, probe: Probe) -> None:
        window = models.context_window(self.entry) or self._context_elsewhere(probe)
        self.report.context_window = window
        if window is None:
            probe.reason = "the server does not tell its context size"
            return
        if window < self.demands.min_context_window:
            raise self._context_failure(
                f"its context holds {window} tokens, {self.demands.min_context_window} are asked for"
            )
        self._pass(probe, f"{window} tokens")
        if window < CONTEXT_FLOOR:
            probe.outcome = WARNED
            self.report.warnings.append(
                f"The context holds {window} tokens; agents want {CONTEXT_FLOOR} or more. Raise it in the server (vLLM "
                "--max-model-len, llama.cpp --ctx-size, Ollama OLLAMA_CONTEXT_LENGTH)."
            )

    def _context_elsewhere(self, probe: Probe) -> int | None:
        path = models.context_source(self.entry)
        if path is None:
            return None
        try:
            content = self.conversation.get_once(f"{self.conversation.client.base.root}{path}", probe)
        except Failure:
            return None
        return models.context_from_source(content, str(self.entry["id"]))

    def _context_failure(self, what: str) -> Failure:
        return Failure(
            "context_too_small",
            f"Model {self.report.model} at {self.report.base_url} has too little context for an agent: {what}. Raise it in the "
            "server (vLLM --max-model-len, llama.cpp --ctx-size, Ollama OLLAMA_CONTEXT_LENGTH), or choose another model.",
        )

    @staticmethod
    def _pass(probe: Probe, reason: str) -> None:
        probe.outcome, probe.reason = PASSED, reason
