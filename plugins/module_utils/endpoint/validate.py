# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The complete validation of one endpoint, from its URL to the choice of the API, probe by probe.

models -> warm-up -> completion -> streaming -> tool call -> tool call, streamed -> second turn -> context size
-> agent-shaped tool call -> agent-shaped tool call, streamed
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Callable

from ..clock import Deadline
from ..failure import PLACEHOLDERS, Failure, clean_key
from ..host.machine import Machine, find_account
from ..host.sockets import require_trusted_listener
from ..transport.client import Client
from ..transport.trouble import FINAL_CODES
from ..transport.url import parse_base_url
from . import models, questions
from .apis import AnthropicMessages, ChatCompletions, Responses
from .conversation import Conversation
from .dialect import Dialect
from .questions import Context
from .report import FAILED, PASSED, WARNED, Probe, Report
from .tool_calls import ToolProbes

# What can be wrong with a list of models on a server that answers all the same: routers forbid it, leave it empty, or have
# none. Where the model was named, the first question to it decides.
_DOUBTFUL = (
    "auth_failed",
    "bad_request",
    "body_too_large",
    "connection_lost",
    "error_in_answer",
    "no_models",
    "not_found",
    "not_json",
    "server_error",
    "timeout",
    "wrong_shape",
)

# Seconds for such a list: no server needs to load a model for it.
_LIST_LIMIT = 10.0


@dataclass(frozen=True)
class Demands:
    """What the user asks of the model."""

    require_tools: bool = True
    min_context_window: int = 0
    agent_prompt_tokens: int = questions.AGENT_PROMPT_TOKENS


class Ladder:
    """The probes of one API of one server, in their order.

    Args:
        conversation: The connection to the server.
        demands: What must hold.
        report: Filled probe by probe.
        only: Names of the probes to run; by default all. Without C(warm_up) the conversation knows its model already.

    """

    def __init__(
        self, conversation: Conversation, demands: Demands, report: Report, only: Collection[str] = ()
    ) -> None:
        self.conversation = conversation
        self.demands = demands
        self.report = report
        self._entry: dict[str, Any] = {}
        # What was wrong with the list of models, until the model answers.
        self._doubt: Failure | None = None
        self._size = Context(report)
        tools = ToolProbes(conversation, report, self._size, demands.require_tools, demands.agent_prompt_tokens)
        probes: list[tuple[str, Callable[[Probe], None]]] = [
            ("models", self._models),
            ("warm_up", self._warm_up),
            ("completion", self._completion),
            ("streaming", self._streaming),
            ("tool_call", tools.small),
            ("tool_call_streamed", tools.small_streamed),
            ("second_turn", tools.second_turn),
            ("context", self._context),
            ("agent_tool_call", tools.agent_shaped),
            ("agent_tool_call_streamed", tools.agent_shaped_streamed),
        ]
        api = conversation.dialect.name
        self._probes = [(Probe(name, api), run) for name, run in probes if not only or name in only]

    @property
    def doubt(self) -> Failure | None:
        """What was wrong with the list of models, as long as the model has not answered."""
        return self._doubt

    def validate(self) -> None:
        """Run the probes.

        Raises:
            Failure: At the first probe that does not hold; those after it stay C(skipped).

        """
        self.report.probes += [probe for probe, _run in self._probes]
        for probe, run in self._probes:
            try:
                run(probe)
                if probe.outcome == PASSED:
                    self._doubt = None
            except Failure as found:
                failure, failed = self._cause(found, probe)
                failed.outcome = FAILED
                failed.reason = failure.details.pop("reason", f"ended with {failure.code}")
                failure.details.setdefault("probe", failed.name)
                raise failure from None
            finally:
                for remark in self.conversation.remarks:
                    self.report.warn(remark)

    def _cause(self, failure: Failure, probe: Probe) -> tuple[Failure, Probe]:
        """Return what to report for a failure, and of which probe: the first question confirms what the list said."""
        doubt = self._doubt
        if doubt is not None:
            refused = failure.code in ("bad_request", "not_found") and doubt.code in ("model_not_served", "no_models")
            if refused or doubt.code == failure.code:
                failure, probe = doubt, self._probes[0][0]
        if failure.code == "auth_failed":
            self._check_for_bearer(failure)
        return failure, probe

    def _models(self, probe: Probe) -> None:
        client, named = self.conversation.client, self.report.model
        url = f"{client.base}{self.conversation.dialect.models_path}"
        served: list[dict[str, Any]] = []
        try:
            limit, final = (_LIST_LIMIT, _DOUBTFUL) if named else (None, ())
            served = models.entries(self.conversation.get(url, probe, limit, final), url)
            self._entry = models.choose(named, served, url, client.key)
        except Failure as failure:
            if failure.code == "not_found":
                self._check_for_v1(failure)
                if not named:
                    failure.message += " If the server only lacks a list of models, name the model: set nemoclaw_model."
            doubtful = failure.code in _DOUBTFUL or (failure.code == "model_not_served" and models.has_patterns(served))
            if not named or not doubtful:
                raise
            self._doubt = failure
            probe.reason = f"the list of models is not decisive, so the model itself is asked: {failure.message}"
            return
        self.report.models = [str(entry["id"]) for entry in served]
        self.report.model = named if named else str(self._entry["id"])
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

    def _check_for_bearer(self, failure: Failure) -> None:
        """Name the header that an Anthropic-compatible server takes the key in, where it is not Anthropic's own."""
        other = self.conversation.with_bearer()
        if other is None:
            return
        try:
            other.ask_once(questions.WARM_UP, Probe("warm_up", ""), questions.WARM_UP_BUDGET)
        except Failure:
            return
        failure.message = (
            f"{self.conversation.client.base} takes the key as 'Authorization: Bearer', and refuses it as 'x-api-key', the header of the "
            f"Anthropic API that OpenShell sends too. Make the server accept x-api-key, or use its OpenAI-compatible API, if it has one, "
            f"with the provider custom."
        )

    def _warm_up(self, probe: Probe) -> None:
        # The first answer may wait for a load of minutes, so it may take all the time there is.
        self.conversation.model = str(self.report.model)
        self.conversation.ask_once(questions.WARM_UP, probe, questions.WARM_UP_BUDGET, share=1.0)
        self._pass(probe, "the model is loaded and answers")

    def _completion(self, probe: Probe) -> None:
        answer = self.conversation.ask(questions.COMPLETION, probe)
        if not answer.content and answer.cut:
            raise Failure(
                "reasoning_only",
                f"The model spent {answer.budget} tokens on reasoning and never answered a one-word question. Limit or disable its "
                f"reasoning in the server, raise nemoclaw_local_inference_timeout if it is slow, or choose another model.",
            )
        if not answer.content:
            raise Failure(
                "empty_answer",
                "The model answered without text. Check the chat template and the server's log, or choose another model.",
            )
        self._warn_of_reasoning(answer.inline_reasoning)
        self._pass(probe, "answers with text")

    def _streaming(self, probe: Probe) -> None:
        answer = self.conversation.ask(questions.STREAMING, probe, stream=True)
        if not answer.content:
            raise Failure(
                "empty_answer", "The stream ended without any text. Check the server's log, or choose another model."
            )
        self._warn_of_reasoning(answer.inline_reasoning)
        probe.extras = {
            "deltas": answer.deltas,
            "first_delta": round(answer.first_delta, 3),
            "last_delta": round(answer.last_delta, 3),
        }
        self._pass(probe, f"{answer.deltas} pieces, after {answer.first_delta:.2f} s to {answer.last_delta:.2f} s")

    def _warn_of_reasoning(self, inline: str) -> None:
        if inline:
            self.report.warn(
                "The model's reasoning is inside its text, where the agent shows it. Start the server with the model's reasoning parser "
                "(vLLM and SGLang --reasoning-parser, llama.cpp --jinja with --reasoning-format auto)."
            )

    def _context(self, probe: Probe) -> None:
        self._size.learn(self._entry, self._context_elsewhere(probe))
        window = self.report.context_window = self._size.window
        if window is None:
            probe.reason = "the server does not report its context size"
            return
        if window < self.demands.min_context_window:
            raise self._size.failure(
                f"its context holds {window} tokens, {self.demands.min_context_window} are required"
            )
        self._pass(probe, f"{window} tokens")
        small = self._size.below_floor()
        if small:
            probe.outcome = WARNED
            self.report.warn(small)

    def _context_elsewhere(self, probe: Probe) -> int | None:
        path = None if models.context_window(self._entry) else models.context_source(self._entry)
        if path is None:
            return None
        try:
            content = self.conversation.get_once(f"{self.conversation.client.base.root}{path}", probe)
        except Failure:
            return None
        return models.context_from_source(content, str(self._entry["id"]))

    @staticmethod
    def _pass(probe: Probe, reason: str) -> None:
        probe.outcome, probe.reason = PASSED, reason


DIALECTS: dict[str, type[Dialect]] = {
    dialect.name: dialect for dialect in (ChatCompletions, Responses, AnthropicMessages)
}

# Page, Timeout Configuration: seconds.
DEFAULT_TIMEOUT = 180


@dataclass(frozen=True)
class Endpoint:
    """Where the server is and how to get in; see the options of C(endpoint_validate)."""

    base_url: str
    api: str = ChatCompletions.name
    api_key: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    ca_path: str | None = None
    validate_certs: bool = True
    trusted_users: tuple[str, ...] = ()


def start_clock(endpoint: Endpoint) -> Deadline:
    """Return the deadline for everything that is asked of the endpoint.

    Raises:
        Failure: C(timeout_invalid).

    """
    if endpoint.timeout <= 0:
        raise Failure(
            "timeout_invalid",
            f"A time limit of {endpoint.timeout:g} s leaves no time for a single request. Set nemoclaw_local_inference_timeout to the "
            f"seconds that a cold model may need; the default is {DEFAULT_TIMEOUT}.",
        )
    return Deadline(endpoint.timeout)


def open_conversation(endpoint: Endpoint, api: str, deadline: Deadline) -> Conversation:
    """Return a conversation with the server over one API.

    Raises:
        Failure: C(api_unsupported), C(key_invalid), C(listener_untrusted) or a URL code; nothing was sent then.

    """
    if api not in DIALECTS:
        raise Failure("api_unsupported", f"There is no API {api!r}. Use one of: {', '.join(DIALECTS)}.")
    key = clean_key(endpoint.api_key)
    dialect = DIALECTS[api](key)
    base = parse_base_url(endpoint.base_url, api)
    # A certificate that was checked says more of the server than who holds its port.
    if key and key not in PLACEHOLDERS and not (base.scheme == "https" and endpoint.validate_certs):
        require_trusted_listener(Machine(), base, find_account(), endpoint.trusted_users)
    return Conversation(
        Client(base, dialect.headers(), key, deadline, endpoint.ca_path, endpoint.validate_certs), dialect
    )


def validate(endpoint: Endpoint, demands: Demands, report: Report) -> None:
    """Prove the endpoint, or say why it cannot be proved.

    C(openai-responses) is an opt-in that holds only if everything an agent needs works over it, streaming events
    included; else chat completions are taken and C(report.fallback_reason) says why (page, Selecting the API Path).

    Raises:
        Failure: With the code of what stopped it; C(report) shows how far it came.

    """
    report.api_requested = endpoint.api
    deadline = start_clock(endpoint)
    try:
        if endpoint.api == Responses.name and _try_responses(endpoint, demands, report):
            return
        conversation = open_conversation(endpoint, report.api, deadline)
        report.base_url = str(conversation.client.base)
        Ladder(conversation, demands, report).validate()
    finally:
        report.elapsed = deadline.elapsed


def _try_responses(endpoint: Endpoint, demands: Demands, report: Report) -> bool:
    """Validate over the Responses API within half of the time, so that the way back has the other half."""
    conversation = open_conversation(endpoint, Responses.name, Deadline(endpoint.timeout / 2))
    report.base_url = str(conversation.client.base)
    report.api = Responses.name
    try:
        Ladder(conversation, demands, report).validate()
    except Failure as failure:
        if failure.code in FINAL_CODES:
            raise
        report.api = ChatCompletions.name
        report.fallback_reason = (
            f"openai-responses was requested, but its probe {failure.details['probe']} failed, so chat completions are used: "
            f"{failure.message}"
        )
        return False
    return True
