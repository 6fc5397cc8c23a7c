# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Asking one model of one server one question, and reading the whole answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Callable, Protocol

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.clock import Deadline
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.answer import Answer
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.apis.dialect import Dialect, Question
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.probe import Probe
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.questions import BUDGETS
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport import sse, trouble
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.credentials import mask
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.retry import (
    SHARE_OF_A_TRY,
    with_retries,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.url import BaseUrl

# A stream that was asked for so many tokens and sends more than this many events for each has no end.
_EVENTS_PER_TOKEN = 4
_EVENTS_OF_ITS_OWN = 64

# Seconds for what a validation can do without.
OPTIONAL_LIMIT = 5.0


class Answering(Protocol):
    """A reply as it is read here: see Reply in transport/client.py."""

    status: int
    headers: Any

    def __enter__(self) -> Answering: ...
    def __exit__(self, *_error: Any) -> None: ...
    def body(self) -> bytes: ...
    def chunks(self) -> Iterator[bytes]: ...


class Way(Protocol):
    """How requests get to the server: from this host (Client), or from inside a sandbox (openshell/inside.py)."""

    base: BaseUrl
    key: str
    deadline: Deadline

    def open(self, method: str, url: str, body: Any = None, limit: float | None = None) -> Answering: ...


@dataclass
class StreamTimes:
    """Seconds from the request to the first and the last piece of text."""

    first_delta: float | None = None
    last_delta: float | None = None


class Conversation:
    """Requests over one API, with what was learnt on the way: the budget that the model needs.

    Every request is noted on the probe: its tries, the latency of the last one, and its HTTP status.
    """

    def __init__(self, client: Way, dialect: Dialect) -> None:
        self.client = client
        self.dialect = dialect
        self.model = ""
        self._budget = BUDGETS[0]

    def get(self, url: str, probe: Probe) -> dict[str, Any]:
        """Return the JSON object at a URL, trying again where that can help."""
        return with_retries(lambda limit: self._read(probe, "GET", url, None, limit), self.client.deadline)

    def get_once(self, url: str, probe: Probe) -> dict[str, Any]:
        """Return the JSON object at a URL that is nice to have, without waiting for it to come back."""
        return self._read(probe, "GET", url, None, OPTIONAL_LIMIT)

    def ask(self, question: Question, probe: Probe, budget: int | None = None, share: float = SHARE_OF_A_TRY) -> Answer:
        """Return the answer; reasoning that ate its budget gets the larger ones, unless a budget is given."""
        return self._with_budgets(partial(self._ask_once, question, probe), budget, share)

    def stream(self, question: Question, probe: Probe) -> tuple[Answer, StreamTimes]:
        """Return the answer of a streamed request, and when its text came."""
        times = StreamTimes()

        def attempt(tokens: int, limit: float) -> Answer:
            times.first_delta = times.last_delta = None
            return self._stream_once(question, probe, tokens, limit, times)

        return self._with_budgets(attempt, None, SHARE_OF_A_TRY), times

    def _with_budgets(self, attempt: Callable[[int, float], Answer], budget: int | None, share: float) -> Answer:
        """Call the attempt with a token budget and a time limit, with larger budgets while they go into reasoning."""
        for tokens in [budget] if budget else [size for size in BUDGETS if size >= self._budget]:
            answer = with_retries(partial(attempt, tokens), self.client.deadline, share)
            if not budget:
                self._budget = tokens
            if not answer.is_reasoning_only:
                break
        return answer

    def _ask_once(self, question: Question, probe: Probe, tokens: int, limit: float) -> Answer:
        url = f"{self.client.base}{self.dialect.path}"
        try:
            content = self._read(probe, "POST", url, self.dialect.request(self.model, question, tokens, False), limit)
        except Failure as failure:
            said = failure.details.get("server_message", "")
            if (
                failure.code == "bad_request"
                and "max_completion_tokens" in said
                and self.dialect.budget_field == "max_tokens"
            ):
                self.dialect.budget_field = "max_completion_tokens"
            elif failure.code == "bad_request" and "tool_choice" in said and question.tool_required:
                question = replace(question, tool_required=False)
            else:
                raise
            content = self._read(probe, "POST", url, self.dialect.request(self.model, question, tokens, False), limit)
        return self.dialect.answer(content)

    def _stream_once(self, question: Question, probe: Probe, tokens: int, limit: float, times: StreamTimes) -> Answer:
        url = f"{self.client.base}{self.dialect.path}"
        body = self.dialect.request(self.model, question, tokens, True)
        started = time.monotonic()
        answer = Answer(complete=False)
        with self._exchange(probe, "POST", url, body, limit) as reply:
            kind = reply.headers.get("Content-Type", "")
            if "json" in kind or "html" in kind:
                raise Failure(
                    "stream_unsupported",
                    f"{url} was asked to stream and answered with {kind.partition(';')[0]} in one piece. Agents read streams: "
                    "switch streaming on in the server, or in what stands between it and this host.",
                )
            for count, event in enumerate(sse.events(reply.chunks())):
                if count > tokens * _EVENTS_PER_TOKEN + _EVENTS_OF_ITS_OWN:
                    raise Failure(
                        "stream_endless",
                        f"{url} was asked for at most {tokens} tokens and did not stop after {count} events. The server "
                        "ignores the limit: look at its version, or at what stands between it and this host.",
                    )
                before = answer.deltas
                ended = self.dialect.add_event(event, answer)
                if answer.deltas > before:
                    times.last_delta = time.monotonic() - started
                    times.first_delta = times.first_delta or times.last_delta
                if ended:
                    break
        self._check_stream(url, answer)
        return answer

    def _check_stream(self, url: str, answer: Answer) -> None:
        if not answer.complete:
            raise Failure(
                "stream_incomplete",
                f"The stream of {url} broke off after {answer.deltas} pieces of text, before its end was announced. Look at the "
                "server's log, and at the time-outs and the buffering of any proxy between.",
            )
        missing = [name for name in self.dialect.required_events if name not in answer.events]
        if missing and not answer.is_reasoning_only:
            raise Failure(
                "stream_events_missing",
                f"The stream of {url} has no event {', '.join(missing)}, which the agent waits for "
                f"(it sent: {', '.join(sorted(answer.events)) or 'none'}).",
                missing_events=missing,
            )

    def _read(self, probe: Probe, method: str, url: str, body: Any, limit: float) -> dict[str, Any]:
        with self._exchange(probe, method, url, body, limit) as reply:
            return trouble.parse_object(reply.body(), url, self.client.key)

    @contextmanager
    def _exchange(self, probe: Probe, method: str, url: str, body: Any, limit: float) -> Iterator[Answering]:
        """Yield a reply with status 2xx; note the exchange on its probe, whatever becomes of it."""
        probe.tries += 1
        probe.status = None
        started = time.monotonic()
        try:
            with self.client.open(method, url, body, limit) as reply:
                probe.status = reply.status
                if not 200 <= reply.status < 300:
                    raise trouble.status_failure(reply.status, url, reply.body(), reply.headers, self.client.key)
                yield reply
        except Failure as failure:
            failure.message = mask(failure.message, self.client.key)
            raise
        finally:
            probe.latency = time.monotonic() - started
